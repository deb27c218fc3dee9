// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// In groups: all of a group is sent before the first echo is awaited, so that one record carries the end of one message
// and the start of the next. A group's echo must fit in the sockets' buffers, since neither side reads while it writes.
var (
	streamSizes = [][]int{{0, 1, 65519}, {1000000}}
	recordSizes = [][]int{{0}, {1}, {1000}, {65519}}
)

const messageMax = 8 << 20 // the most that a peer may ask us to hold

type messages interface {
	send(message []byte) error
	flush() error             // everything that was sent is on its way
	receive() ([]byte, error) // io.EOF: the peer ended, between two messages
}

// records: one record is one message.
type records struct{ channel *channel }

func (r *records) send(message []byte) error { return r.channel.write(message) }
func (r *records) flush() error              { return nil }
func (r *records) receive() ([]byte, error)  { return r.channel.read() }

// stream: messages in a byte stream, each after a length of 4 bytes. The stream is cut into records of uneven sizes,
// the empty one among them, so that headers and payloads of messages fall apart in every way.
type stream struct {
	channel        *channel
	unsent, unread []byte
	cut            int
}

var cuts = []int{1, 2, 70, 0, recordMax, 4096, 30001}

func (s *stream) send(message []byte) error {
	s.unsent = append(binary.BigEndian.AppendUint32(s.unsent, uint32(len(message))), message...)
	return nil
}

func (s *stream) flush() error {
	for len(s.unsent) > 0 {
		size := cuts[s.cut%len(cuts)]
		s.cut++
		if size > len(s.unsent) {
			size = len(s.unsent)
		}
		if err := s.channel.write(s.unsent[:size]); err != nil {
			return err
		}
		s.unsent = s.unsent[size:]
	}
	s.unsent = nil
	return nil
}

func (s *stream) receive() ([]byte, error) {
	for {
		if len(s.unread) >= 4 {
			size := int(binary.BigEndian.Uint32(s.unread))
			if size > messageMax {
				return nil, fmt.Errorf("the peer announced a message of %d bytes", size)
			}
			if len(s.unread) >= 4+size {
				message := s.unread[4 : 4+size]
				s.unread = s.unread[4+size:]
				return message, nil
			}
		}
		plain, err := s.channel.read()
		if err == io.EOF && len(s.unread) > 0 {
			return nil, errors.New("the stream ended in a message")
		}
		if err != nil {
			return nil, err
		}
		s.unread = append(s.unread, plain...)
	}
}

// pattern is the payload of a message of this length: both sides know it.
func pattern(size int) []byte {
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = byte(i*31 + size)
	}
	return payload
}

func askGroup(peer messages, group []int) error {
	for _, size := range group {
		if err := peer.send(pattern(size)); err != nil {
			return err
		}
	}
	if err := peer.flush(); err != nil {
		return err
	}
	for _, size := range group {
		echo, err := peer.receive()
		if err != nil {
			return fmt.Errorf("waiting for the echo of %d bytes: %w", size, err)
		}
		if !bytes.Equal(echo, pattern(size)) {
			return fmt.Errorf("the echo of %d bytes is not what was sent", size)
		}
		fmt.Printf("ok %d\n", size)
	}
	return nil
}

// ask is the side that dialled: it sends, checks what comes back, then ends.
func ask(peer messages, c *channel, sizes [][]int) error {
	for _, group := range sizes {
		if err := askGroup(peer, group); err != nil {
			return err
		}
	}
	if err := c.socket.CloseWrite(); err != nil {
		return err
	}
	if _, err := peer.receive(); err != io.EOF {
		return fmt.Errorf("something came after the last echo: %v", err)
	}
	return nil
}

// echo is the side that listened: what comes goes back, until the peer ends.
func echo(peer messages) error {
	for {
		message, err := peer.receive()
		if err == io.EOF {
			fmt.Println("ended")
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Printf("received %d\n", len(message))
		if err := peer.send(message); err != nil {
			return err
		}
		if err := peer.flush(); err != nil {
			return err
		}
	}
}
