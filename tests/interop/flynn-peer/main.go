// SPDX-License-Identifier: MIT

// One side of a Noise connection over TCP, for peapod's interoperability tests: the same dialogue as peer.c, with
// cryptography that peapod did not write. What is said is in ../README.md. Not a library, and not an example of
// anything.
package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

// A whole run takes seconds; this only keeps a peer that hangs from hanging the test.
const deadline = 30 * time.Second

func openSocket(o *options) (*net.TCPConn, error) {
	if !o.listens {
		socket, err := net.Dial("tcp", o.addr)
		if err != nil {
			return nil, err
		}
		return socket.(*net.TCPConn), nil
	}
	listener, err := net.Listen("tcp", o.addr)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	fmt.Printf("listening %s\n", listener.Addr())
	socket, err := listener.Accept()
	if err != nil {
		return nil, err
	}
	return socket.(*net.TCPConn), nil
}

func run() error {
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		return err
	}
	time.AfterFunc(deadline, func() {
		fmt.Fprintf(os.Stderr, "flynn-peer: not finished after %v\n", deadline)
		os.Exit(1)
	})
	socket, err := openSocket(o)
	if err != nil {
		return err
	}
	defer socket.Close()
	c, err := openChannel(socket, o)
	if err != nil {
		return err
	}
	if len(c.remote) > 0 {
		fmt.Printf("remote %x\n", c.remote)
	} else {
		fmt.Println("remote none")
	}
	var peer messages = &stream{channel: c}
	sizes := streamSizes
	if o.records {
		peer, sizes = &records{c}, recordSizes
	}
	if o.listens {
		return echo(peer)
	}
	return ask(peer, c, sizes)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "flynn-peer: %v\n", err)
		os.Exit(1)
	}
}
