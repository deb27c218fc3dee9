// SPDX-License-Identifier: MIT
// A foreign peer: Node.js's tls module. It is used, and speaks, as python_peer.py:
//   node node_peer.js connect|listen PORT CERT KEY CA NAME VERSION
// Node.js cannot tell an end without close_notify: both are "end". It also prints "alone HEX", "context HEX" and "binding
// HEX": what it exports, as export_peer.c.
'use strict';
const fs = require('fs');
const tls = require('tls');

const [role, port, cert, key, ca, name, version] = process.argv.slice(2);
const options = {cert : fs.readFileSync(cert), key : fs.readFileSync(key), ca : fs.readFileSync(ca)};
if (version !== 'any')
    options.minVersion = options.maxVersion = 'TLSv' + version;

function say(...words) {
    fs.writeSync(1, words.join(' ') + '\n');
}

function talk(socket) {
    say('version', socket.getProtocol());
    say('peer', socket.getPeerCertificate().fingerprint256);
    const exported = (bytes, ...asked) => socket.exportKeyingMaterial(bytes, ...asked).toString('hex');
    say('alone', exported(48, 'EXPORTER-peapod-test'));
    say('context', exported(48, 'EXPORTER-peapod-test', Buffer.from('a context')));
    say('binding', exported(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0)));
    socket.on('data', data => say('data', data.toString().trimEnd()));
    process.stdin.on('data', data => socket.write(data));
    process.stdin.on('end', () => socket.end());
}

function watch(socket) {
    socket.on('error', error => say('error', error.message));
    socket.on('end', () => say('end'));
    socket.on('close', () => process.exit());
    socket.setTimeout(30000, () => socket.destroy(new Error('nothing for 30 seconds')));
}

if (role === 'connect') {
    const socket = tls.connect(
        {...options, host : '127.0.0.1', port : Number(port), servername : name, rejectUnauthorized : true});
    socket.on('secureConnect', () => talk(socket));
    watch(socket);
} else {
    const server = tls.createServer({...options, requestCert : true, rejectUnauthorized : true});
    server.on('secureConnection', socket => {
        server.close();
        watch(socket);
        talk(socket);
    });
    server.on('tlsClientError', error => {
        say('error', error.message);
        process.exit(1);
    });
    server.listen(0, '127.0.0.1', () => say('listening', server.address().port));
}
