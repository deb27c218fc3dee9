// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Two processes, a core for each, the counted time and latencies: what bench/two.h and bench/peers/peer.h are to the
// programs in C. The receiver is the process that was started; the sender is this program once more.

const (
	senderCPU   = 0
	receiverCPU = 1
	warmUp      = 100 * time.Millisecond
	roleName    = "PEAPOD_BENCH_ROLE" // "sender", or the receiver's: the sender's process id
)

// sender is the sender as the receiver sees it, which talks to it through descriptor 3.
type sender struct {
	pid  int
	pipe *os.File
}

func pin(cpu int) {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		fmt.Fprintf(os.Stderr, "bench: not pinned to cpu %d: figures will vary more\n", cpu)
	}
}

// start returns nil in the sender. Threads inherit their core and the runtime counts the cores when it begins, so both
// sides begin anew where they are pinned.
func start() (*sender, error) {
	role := os.Getenv(roleName)
	if role == "sender" {
		return nil, nil
	}
	if pid, err := strconv.Atoi(role); err == nil {
		unix.CloseOnExec(3)
		return &sender{pid: pid, pipe: os.NewFile(3, "the sender's input")}, nil
	}
	runtime.LockOSThread()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	pin(senderCPU)
	child := exec.Command(self, os.Args[1:]...)
	child.Env = append(os.Environ(), roleName+"=sender")
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // whatever ends the receiver
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	child.Stdin = read
	if err = child.Start(); err != nil {
		return nil, err
	}
	pin(receiverCPU)
	if err = unix.Dup3(int(write.Fd()), 3, 0); err != nil && int(write.Fd()) != 3 {
		return nil, err
	}
	return nil, unix.Exec(self, os.Args, append(os.Environ(), roleName+"="+strconv.Itoa(child.Process.Pid)))
}

func (s *sender) tell(line string) error {
	_, err := fmt.Fprintln(s.pipe, line)
	return err
}

// end ends the sender, and waits for it.
func (s *sender) end() {
	if process, err := os.FindProcess(s.pid); err == nil {
		_ = process.Kill()
		_, _ = process.Wait()
	}
}

var input = bufio.NewReader(os.Stdin)

func hear() (string, error) {
	line, err := input.ReadString('\n')
	return strings.TrimSpace(line), err
}

func clock(id int32) float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic(err)
	}
	return float64(t.Sec) + float64(t.Nsec)/1e9
}

var (
	epoch      = time.Now()
	epochClock = clock(unix.CLOCK_MONOTONIC)
)

// now is the clock that both processes share, in seconds; time.Now() reads it without a system call.
func now() float64 {
	return epochClock + time.Since(epoch).Seconds()
}

// cpu is the CPU time, user and system, of a process, in seconds: getrusage() of any.
func cpu(pid int) float64 {
	return clock(int32(^pid<<3 | 2)) // clock_getcpuclockid()
}

type measured struct {
	count                uint64
	took                 float64
	cpuSender, cpuItself float64
}

// measure waits for the first one and until the warm-up is over, calls begin, then measures what count gains.
func (s *sender) measure(seconds float64, count func() uint64, begin func()) measured {
	for count() == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(warmUp)
	begin()
	self := os.Getpid()
	before := measured{count(), now(), cpu(s.pid), cpu(self)}
	time.Sleep(time.Duration(seconds * 1e9))
	return measured{count() - before.count, now() - before.took, cpu(s.pid) - before.cpuSender, cpu(self) - before.cpuItself}
}

func (m measured) print() {
	if m.count > 0 {
		fmt.Printf("cpu_ns_sender %.1f\n", m.cpuSender*1e9/float64(m.count))
		fmt.Printf("cpu_ns_receiver %.1f\n", m.cpuItself*1e9/float64(m.count))
	}
	fmt.Printf("%.0f\n", float64(m.count)/m.took)
}

func printLatencies(seconds []float64, p999 bool) error {
	if len(seconds) == 0 {
		return fmt.Errorf("no message came in the counted time")
	}
	slices.Sort(seconds)
	percentile := func(part float64) float64 { return seconds[int(part*float64(len(seconds)-1))] * 1e6 }
	fmt.Printf("p50_us %.1f\np99_us %.1f\n", percentile(0.5), percentile(0.99))
	if p999 {
		fmt.Printf("p999_us %.1f\n", percentile(0.999))
	}
	return nil
}

// residentKiB is the memory of this process without what the collector could give back.
func residentKiB() (float64, error) {
	debug.FreeOSMemory()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(statm))[1], 64)
	return pages * float64(os.Getpagesize()) / 1024, err
}

// schedule is that of an open loop, by a timer of the kernel: the runtime's own are of whole milliseconds.
type schedule struct {
	timer         *os.File
	begun, period float64
	passed, given uint64
}

func newSchedule(rate float64) (*schedule, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	period := unix.NsecToTimespec(int64(1e9 / rate))
	s := &schedule{timer: os.NewFile(uintptr(fd), "timer"), begun: now(), period: float64(period.Nano()) / 1e9}
	first := unix.NsecToTimespec(int64((s.begun + s.period) * 1e9))
	return s, unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME, &unix.ItimerSpec{Interval: period, Value: first}, nil)
}

// next waits until a message is due, and returns when that was.
func (s *schedule) next() (float64, error) {
	var expired [8]byte
	for s.given == s.passed {
		if _, err := io.ReadFull(s.timer, expired[:]); err != nil {
			return 0, err
		}
		s.passed += order.Uint64(expired[:])
	}
	s.given++
	return s.begun + float64(s.given)*s.period, nil
}
