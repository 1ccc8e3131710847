// Command prober is the lab's workload and its independent prober: a small HTTP
// server, and clients of it. It shares nothing with the tool that is tested.
//
//	prober                     serve on :8080
//	prober addrs               print the interface addresses as JSON
//	prober probe HOST:PORT...  probe each target once, one JSON line per target
//	prober watch -for 60s -every 100ms HOST:PORT...
//	                           probe in a loop; JSON lines: each loss, then a summary
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"time"
)

type identity struct {
	Pod   string `json:"pod"`
	Node  string `json:"node"`
	Seen  string `json:"seen"` // the client address as the server saw it
	Error string `json:"error,omitempty"`
}

type probe struct {
	Target    string   `json:"target"`
	OK        bool     `json:"ok"`
	Connected bool     `json:"connected"` // the kernels shook hands, so packets pass both ways, whoever is slow to answer
	Millis    float64  `json:"ms"`
	Reply     identity `json:"reply"`
}

type summary struct {
	Target  string  `json:"target"`
	Sent    int     `json:"sent"`
	Lost    int     `json:"lost"`
	LongGap float64 `json:"longest_gap_s"` // longest run of losses, in seconds
	MaxMs   float64 `json:"max_ms"`
}

type loss struct {
	Target string    `json:"target"`
	At     time.Time `json:"at"` // when the probe was sent
	Why    string    `json:"why"`
}

func serve() {
	host, _ := os.Hostname()
	node := os.Getenv("NODE_NAME")
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(identity{Pod: host, Node: node, Seen: r.RemoteAddr})
	})
	fmt.Println("listening on :8080 as", host, "on", node)
	if err := http.ListenAndServe(":8080", nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func probeOnce(target string, timeout time.Duration) probe {
	client := &http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{DisableKeepAlives: true}, // a new connection each time
	}
	start := time.Now()
	p := probe{Target: target}
	connected := make(chan struct{}, 1) // the transport may still be dialling when the client has given up
	trace := &httptrace.ClientTrace{ConnectDone: func(_, _ string, err error) {
		if err == nil {
			connected <- struct{}{}
		}
	}}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "GET", "http://"+target+"/", nil)
	var resp *http.Response
	if err == nil {
		resp, err = client.Do(request)
	}
	if err == nil {
		var body []byte
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			err = json.Unmarshal(body, &p.Reply)
		}
	}
	p.Millis = float64(time.Since(start).Microseconds()) / 1000
	p.OK = err == nil
	p.Connected = len(connected) > 0
	if err != nil {
		p.Reply.Error = err.Error()
	}
	return p
}

func addrs() {
	out := map[string][]string{}
	links, _ := net.Interfaces()
	for _, link := range links {
		list, _ := link.Addrs()
		for _, addr := range list {
			ip := addr.(*net.IPNet).IP
			if ip.IsGlobalUnicast() && ip.To4() != nil {
				out[link.Name] = append(out[link.Name], ip.String())
			}
		}
	}
	json.NewEncoder(os.Stdout).Encode(out)
}

func probeAll(targets []string, timeout time.Duration) {
	results := make([]probe, len(targets))
	var wait sync.WaitGroup
	for i, target := range targets {
		wait.Add(1)
		go func() {
			defer wait.Done()
			results[i] = probeOnce(target, timeout)
		}()
	}
	wait.Wait()
	for _, result := range results {
		json.NewEncoder(os.Stdout).Encode(result)
	}
}

// watch probes one target in a loop. It prints each lost probe at once, and a
// summary at the end.
func watch(target string, total, every, timeout time.Duration, out *json.Encoder, lock *sync.Mutex) {
	s := summary{Target: target}
	var gapStart time.Time
	var wait sync.WaitGroup
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.Now().Add(total); time.Now().Before(end); <-tick.C {
		wait.Add(1)
		s.Sent++
		go func(at time.Time) {
			defer wait.Done()
			p := probeOnce(target, timeout)
			lock.Lock()
			defer lock.Unlock()
			s.MaxMs = max(s.MaxMs, p.Millis)
			if p.OK {
				gapStart = time.Time{}
				return
			}
			s.Lost++
			if gapStart.IsZero() {
				gapStart = at
			}
			s.LongGap = max(s.LongGap, at.Sub(gapStart).Seconds()+every.Seconds())
			out.Encode(loss{Target: target, At: at.UTC(), Why: strings.TrimPrefix(p.Reply.Error, "Get ")})
		}(time.Now())
	}
	wait.Wait()
	lock.Lock()
	defer lock.Unlock()
	out.Encode(s)
}

func watchAll(targets []string, total, every, timeout time.Duration) {
	out, lock := json.NewEncoder(os.Stdout), &sync.Mutex{}
	var wait sync.WaitGroup
	for _, target := range targets {
		wait.Add(1)
		go func() {
			defer wait.Done()
			watch(target, total, every, timeout, out, lock)
		}()
	}
	wait.Wait()
}

func main() {
	if len(os.Args) < 2 {
		serve()
		return
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	timeout := flags.Duration("timeout", 2*time.Second, "time allowed for one probe")
	total := flags.Duration("for", time.Minute, "how long to watch")
	every := flags.Duration("every", 100*time.Millisecond, "time between two probes")
	flags.Parse(os.Args[2:])
	switch {
	case os.Args[1] == "addrs":
		addrs()
	case os.Args[1] == "probe":
		probeAll(flags.Args(), *timeout)
	case os.Args[1] == "watch" && flags.NArg() > 0:
		watchAll(flags.Args(), *total, *every, *timeout)
	default:
		fmt.Fprintln(os.Stderr, "usage: prober [addrs | probe HOST:PORT... | watch [-for D] [-every D] HOST:PORT...]")
		os.Exit(2)
	}
}
