// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
)

// The network of the bench at its best: a bare swarm, without a host's identify and a stream's protocol negotiation,
// without a resource manager; TCP, Noise, yamux as libp2p sets it up. The dialer uses the swarm's transport, so that it
// can have more than one connection with a peer.

const (
	prefix = 4
	// One full Noise message: what yamux and Noise put around a write leaves this much of it.
	writeBytes = noise.MaxPlaintextLength - 12
	readBytes  = 256 << 10
	sizeMost   = 8 << 20
)

var order = binary.NativeEndian

type node struct {
	swarm     *swarm.Swarm
	transport transport.Transport
}

func newNode() (*node, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	peers, err := pstoremem.NewPeerstore()
	if err != nil {
		return nil, err
	}
	if err = errors.Join(peers.AddPrivKey(id, key), peers.AddPubKey(id, key.GetPublic())); err != nil {
		return nil, err
	}
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: yamux.DefaultTransport}}
	security, err := noise.New(noise.ID, key, muxers)
	if err != nil {
		return nil, err
	}
	up, err := upgrader.New([]sec.SecureTransport{security}, muxers, nil, nil, nil)
	if err != nil {
		return nil, err
	}
	tcp, err := tcp.NewTCPTransport(up, nil, nil)
	if err != nil {
		return nil, err
	}
	net, err := swarm.NewSwarm(id, peers, eventbus.NewBus())
	if err != nil {
		return nil, err
	}
	return &node{net, tcp}, net.AddTransport(tcp)
}

// listen returns what dial wants. Each stream of each connection has handle called in a goroutine of its own.
func (n *node) listen(handle func(io.ReadWriter)) (string, error) {
	n.swarm.SetStreamHandler(func(s network.Stream) {
		handle(s)
		_ = s.Close()
	})
	if err := n.swarm.Listen(multiaddr.StringCast("/ip4/127.0.0.1/tcp/0")); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s", n.swarm.ListenAddresses()[0], n.swarm.LocalPeer()), nil
}

// dial makes a connection and a stream.
func (n *node) dial(where string) (transport.CapableConn, network.MuxedStream, error) {
	addr, id, _ := strings.Cut(where, " ")
	to, err := multiaddr.NewMultiaddr(addr)
	if err != nil {
		return nil, nil, err
	}
	peer, err := peer.Decode(id)
	if err != nil {
		return nil, nil, err
	}
	ctx := context.Background()
	conn, err := n.transport.Dial(ctx, to, peer)
	if err != nil {
		return nil, nil, err
	}
	stream, err := conn.OpenStream(ctx)
	return conn, stream, err
}

// writer puts frames of a 4-byte length together into full writes.
type writer struct{ *bufio.Writer }

func newWriter(to io.Writer) writer {
	return writer{bufio.NewWriterSize(to, writeBytes)}
}

func (w writer) message(payload []byte) error {
	if w.Available() < prefix {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	length := binary.BigEndian.AppendUint32(w.AvailableBuffer(), uint32(len(payload)))
	if _, err := w.Write(length); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}

// read calls each with the messages that came with one read, parsed in place, until the stream ends. Each must have
// size bytes.
func read(from io.Reader, size int, each func(message []byte), after func(messages int)) error {
	buffer := make([]byte, readBytes+prefix+size)
	have := 0
	for {
		n, err := from.Read(buffer[have:])
		if err != nil {
			return err
		}
		have += n
		at, messages := 0, 0
		for have-at >= prefix {
			if length := int(binary.BigEndian.Uint32(buffer[at:])); length != size {
				return fmt.Errorf("a message of %d bytes", length)
			}
			if have-at-prefix < size {
				break
			}
			if each != nil {
				each(buffer[at+prefix : at+prefix+size])
			}
			at += prefix + size
			messages++
		}
		have = copy(buffer, buffer[at:have])
		after(messages)
	}
}
