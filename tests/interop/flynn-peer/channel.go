// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/flynn/noise"
)

const (
	tag       = 16
	recordMax = noise.MaxMsgLen - tag // the most plaintext of one record
)

// channel is Noise over a socket: every handshake message and every record has a length of 2 bytes before it.
type channel struct {
	socket   *net.TCPConn
	out, in  *noise.CipherState
	remote   []byte // nil: the pattern shows none
	finished bool
}

func writeFrame(w io.Writer, body []byte) error {
	if len(body) > noise.MaxMsgLen {
		return errors.New("more than a frame can hold")
	}
	frame := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(body)), uint16(len(body)))
	_, err := w.Write(append(frame, body...))
	return err
}

// readFrame gives io.EOF where the stream ends between two frames.
func readFrame(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("the stream ended in a message: %v", err)
	}
	return body, nil
}

// split takes what the last handshake message, written or read, leaves: the initiator's direction comes first.
func (c *channel) split(first, second *noise.CipherState, initiator bool) {
	if first == nil {
		return
	}
	c.finished = true
	c.out, c.in = first, second
	if !initiator {
		c.out, c.in = second, first
	}
}

func (c *channel) write1(state *noise.HandshakeState, initiator bool) error {
	message, first, second, err := state.WriteMessage(nil, nil)
	if err != nil {
		return fmt.Errorf("writing a handshake message: %w", err)
	}
	c.split(first, second, initiator)
	return writeFrame(c.socket, message)
}

func (c *channel) read1(state *noise.HandshakeState, o *options) error {
	message, err := readFrame(c.socket)
	if err != nil {
		return fmt.Errorf("receiving a handshake message: %w", err)
	}
	payload, first, second, err := state.ReadMessage(nil, message)
	if err != nil {
		return fmt.Errorf("reading a handshake message: %w", err)
	}
	if len(payload) != 0 {
		return fmt.Errorf("a handshake message carried %d bytes that nobody asked for", len(payload))
	}
	// As soon as the peer's key is known, so that ours stays at home when it is the wrong one.
	if seen := state.PeerStatic(); len(seen) > 0 && o.remote != nil && !bytes.Equal(seen, o.remote) {
		return fmt.Errorf("the peer is %x, expected was %x", seen, o.remote)
	}
	c.split(first, second, o.config.Initiator)
	return nil
}

func openChannel(socket *net.TCPConn, o *options) (*channel, error) {
	state, err := noise.NewHandshakeState(o.config)
	if err != nil {
		return nil, err
	}
	c := &channel{socket: socket}
	for ours := o.config.Initiator; !c.finished; ours = !ours {
		if ours {
			err = c.write1(state, o.config.Initiator)
		} else {
			err = c.read1(state, o)
		}
		if err != nil {
			return nil, err
		}
	}
	c.remote = state.PeerStatic()
	return c, nil
}

func (c *channel) write(plain []byte) error {
	record, err := c.out.Encrypt(nil, nil, plain)
	if err != nil {
		return fmt.Errorf("sealing a record: %w", err)
	}
	return writeFrame(c.socket, record)
}

// read gives the next record's plaintext, or io.EOF where the stream ended between two records.
func (c *channel) read() ([]byte, error) {
	record, err := readFrame(c.socket)
	if err != nil {
		return nil, err
	}
	plain, err := c.in.Decrypt(nil, nil, record)
	if err != nil {
		return nil, fmt.Errorf("opening a record: %w", err)
	}
	return plain, nil
}
