// SPDX-License-Identifier: MIT

// go-libp2p as a peer of peapod's bench: `go-libp2p WORKLOAD ARGUMENTS...`. See swarm.go for what it is made of.
package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const usage = `usage: go-libp2p WORKLOAD ARGUMENTS...
  oneway SIZE SECONDS [CONNECTIONS]    pingpong SIZE SECONDS    openloop SIZE RATE SECONDS
  connect INFLIGHT SECONDS             idle CONNECTIONS
`

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func number(args []string, at int) float64 {
	if at >= len(args) {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	value, err := strconv.ParseFloat(args[at], 64)
	if err != nil || !(value > 0 && value <= sizeMost) {
		fmt.Fprintf(os.Stderr, "bench: '%s' must be a number above 0 and at most %d\n", args[at], sizeMost)
		os.Exit(2)
	}
	return value
}

// ---- The sender ----

func sendForEver(to io.Writer, size int) error {
	out, payload := newWriter(to), make([]byte, size)
	for {
		if err := out.message(payload); err != nil {
			return err
		}
	}
}

func sendOneway(n *node, where string, size, connections int) error {
	done := make(chan error)
	for range connections {
		_, stream, err := n.dial(where)
		if err != nil {
			return err
		}
		go func() { done <- sendForEver(stream, size) }()
	}
	return <-done
}

// answer echoes each message at once, and tells how many. If first, a message from it says that it is there.
func answer(on io.ReadWriter, size int, first bool, answered func(int)) error {
	out, payload := newWriter(on), make([]byte, size)
	if first {
		if err := errors.Join(out.message(payload), out.Flush()); err != nil {
			return err
		}
	}
	return read(on, size, func(message []byte) { _ = out.message(message) }, func(messages int) {
		_ = out.Flush()
		answered(messages)
	})
}

func sendBySchedule(to io.Writer, size int, rate float64) error {
	out, payload := newWriter(to), make([]byte, size)
	times, err := newSchedule(rate)
	for err == nil {
		var due float64
		if due, err = times.next(); err == nil {
			order.PutUint64(payload, math.Float64bits(due))
			err = errors.Join(out.message(payload), out.Flush())
		}
	}
	return err
}

// exchange sends a byte and awaits the answer.
func exchange(on io.ReadWriter) error {
	var message [prefix + 1]byte
	message[prefix-1] = 1
	if _, err := on.Write(message[:]); err != nil {
		return err
	}
	_, err := io.ReadFull(on, message[:])
	return err
}

func connectForEver(n *node, where string) error {
	for {
		conn, stream, err := n.dial(where)
		if err != nil {
			return err
		}
		if err = exchange(stream); err != nil {
			return err
		}
		if err = conn.Close(); err != nil {
			return err
		}
	}
}

func connectIdle(n *node, where string, goals ...int) error {
	made := 0
	for _, goal := range goals {
		for ; made < goal; made++ {
			_, stream, err := n.dial(where)
			if err != nil {
				return err
			}
			if err = errors.Join(exchange(stream), stream.Close()); err != nil {
				return err
			}
		}
		if _, err := hear(); err != nil {
			return err
		}
	}
	return nil
}

func send(workload string, args []string) error {
	n, err := newNode()
	if err != nil {
		return err
	}
	where, err := hear()
	if err != nil {
		return err
	}
	first := int(number(args, 0))
	switch workload {
	case "oneway":
		connections := 1
		if len(args) > 2 {
			connections = int(number(args, 2))
		}
		return sendOneway(n, where, first, connections)
	case "connect":
		done := make(chan error)
		for range first {
			go func() { done <- connectForEver(n, where) }()
		}
		return <-done
	case "idle":
		return connectIdle(n, where, first/9, first)
	}
	_, stream, err := n.dial(where)
	if err != nil {
		return err
	}
	if workload == "pingpong" {
		return answer(stream, first, true, func(int) {})
	}
	return sendBySchedule(stream, first, number(args, 1))
}

// ---- The receiver, which measures ----

type receiver struct {
	sender          *sender
	size            int
	count           atomic.Uint64
	manyConnections bool
	ends            atomic.Bool

	mutex     sync.Mutex
	latencies []float64
}

func (r *receiver) listen(handle func(io.ReadWriter) error) error {
	n, err := newNode()
	if err != nil {
		return err
	}
	where, err := n.listen(func(stream io.ReadWriter) {
		if err := handle(stream); err != nil && !r.over(err) {
			fail(err)
		}
	})
	if err != nil {
		return err
	}
	return r.sender.tell(where)
}

// over says whether a stream may end like that: those of a workload of many connections do.
func (r *receiver) over(err error) bool {
	return r.ends.Load() || r.manyConnections || errors.Is(err, io.EOF)
}

func (r *receiver) measure(seconds float64) measured {
	m := r.sender.measure(seconds, r.count.Load, func() {
		r.mutex.Lock()
		r.latencies = nil
		r.mutex.Unlock()
	})
	r.ends.Store(true)
	return m
}

func (r *receiver) latency(seconds float64) {
	r.mutex.Lock()
	r.latencies = append(r.latencies, seconds)
	r.mutex.Unlock()
}

func (r *receiver) printLatencies(p999 bool) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return printLatencies(r.latencies, p999)
}

func (r *receiver) add(messages int) {
	r.count.Add(uint64(messages))
}

func (r *receiver) oneway(seconds float64) error {
	err := r.listen(func(s io.ReadWriter) error { return read(s, r.size, nil, r.add) })
	if err == nil {
		r.measure(seconds).print()
	}
	return err
}

func (r *receiver) pingpong(seconds float64) error {
	err := r.listen(func(s io.ReadWriter) error {
		out, payload := newWriter(s), make([]byte, r.size)
		var sent float64
		return read(s, r.size, nil, func(messages int) {
			if messages == 0 {
				return
			}
			at := now()
			if sent != 0 {
				r.latency(at - sent)
				r.add(1)
			}
			sent = now()
			_ = errors.Join(out.message(payload), out.Flush())
		})
	})
	if err != nil {
		return err
	}
	m := r.measure(seconds)
	if err = r.printLatencies(false); err == nil {
		m.print()
	}
	return err
}

func (r *receiver) openloop(seconds float64) error {
	err := r.listen(func(s io.ReadWriter) error {
		return read(s, r.size, func(message []byte) {
			r.latency(now() - math.Float64frombits(order.Uint64(message)))
		}, r.add)
	})
	if err != nil {
		return err
	}
	r.measure(seconds)
	return r.printLatencies(true)
}

func (r *receiver) connect(seconds float64) error {
	err := r.listen(func(s io.ReadWriter) error { return answer(s, r.size, false, r.add) })
	if err == nil {
		r.measure(seconds).print()
	}
	return err
}

func (r *receiver) idle(connections int) error {
	err := r.listen(func(s io.ReadWriter) error {
		err := answer(s, r.size, false, func(int) {})
		r.add(1) // once the stream has ended
		return err
	})
	var kib [2]float64
	for i, goal := range []int{connections / 9, connections} {
		for err == nil && r.count.Load() < uint64(goal) {
			time.Sleep(time.Millisecond)
		}
		if err == nil {
			kib[i], err = residentKiB()
		}
		if err == nil {
			err = r.sender.tell("go on")
		}
	}
	fmt.Printf("%.2f\n", (kib[1]-kib[0])/float64(connections-connections/9))
	return err
}

func receive(s *sender, workload string, args []string) error {
	first := int(number(args, 0))
	r := &receiver{sender: s, size: first}
	switch workload {
	case "oneway":
		return r.oneway(number(args, 1))
	case "pingpong":
		return r.pingpong(number(args, 1))
	case "openloop":
		if first < 8 {
			return errors.New("a message has to have room for a time of 8 bytes")
		}
		return r.openloop(number(args, 2))
	}
	r.size, r.manyConnections = 1, true
	if workload == "connect" {
		return r.connect(number(args, 1))
	}
	return r.idle(first)
}

func main() {
	args := os.Args[1:]
	known := map[string]bool{"oneway": true, "pingpong": true, "openloop": true, "connect": true, "idle": true}
	if len(args) < 2 || !known[args[0]] {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	s, err := start()
	fail(err)
	if s == nil {
		fail(send(args[0], args[1:]))
		return
	}
	err = receive(s, args[0], args[1:])
	s.end()
	fail(err)
}
