// Callers in LiveKit rooms that leave the machine to whom they call: they say what was encoded before, and look at what
// comes without decoding it.
//
// The program is told what to do as `loadtest.room_process` is, in JSON, a line each: first
// `{"tickets": [{"url": …, "token": …}], "speech": [{"file": …, "voiced_ms": …}], "turns": n}`, then "go" for the
// turns; at the end of its input its callers leave. It tells in JSON lines what happens. The files have Opus packets
// of 20 ms (RFC 6716), the length of each before it in two bytes, the lower first.
package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"

	protologger "github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
)

const (
	spacing   = 250 * time.Millisecond // a LiveKit server stalls when more join at once
	lineBytes = 16 << 20
	garbage   = 400 // percent: collected a quarter as often as usual, of some megabytes
)

type job struct {
	Tickets []ticket `json:"tickets"`
	Speech  []speech `json:"speech"`
	Turns   int      `json:"turns"`
}

type ticket struct {
	URL   string `json:"url"`
	Token string `json:"token"`
}

type joining struct {
	TrackSubscribedMs float64 `json:"track_subscribed_ms"`
}

func main() {
	lksdk.SetLogger(protologger.GetDiscardLogger()) // what it has to say comes as errors, too
	debug.SetGCPercent(garbage)
	lines := bufio.NewReaderSize(os.Stdin, lineBytes)
	if err := run(lines); err != nil {
		tell(map[string]any{"event": "failed", "message": err.Error()})
		os.Exit(1)
	}
}

func run(lines *bufio.Reader) error {
	var wanted job
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, &wanted); err != nil {
		return err
	}
	for i := range wanted.Speech {
		if err := wanted.Speech[i].read(); err != nil {
			return err
		}
	}
	var callers []*caller
	defer func() {
		for _, each := range callers {
			each.leave()
		}
	}()
	joinings := []joining{}
	for _, each := range wanted.Tickets {
		joined, took, err := join(each)
		if err != nil {
			return err
		}
		callers = append(callers, joined)
		joinings = append(joinings, joining{float64(took.Microseconds()) / 1000})
		time.Sleep(spacing)
	}
	tell(map[string]any{"event": "joined", "joining": joinings})
	if _, err := lines.ReadBytes('\n'); err != nil {
		return ifNotEnd(err)
	}
	turns, sound := talk(callers, wanted.Speech, wanted.Turns)
	tell(map[string]any{"event": "finished", "turns": turns, "sound": sound})
	_, err = io.Copy(io.Discard, lines)
	return err
}

// All turns of all callers, and how well the agent's sound came meanwhile.
func talk(callers []*caller, sentences []speech, number int) ([][]turn, []sound) {
	turns, sounds := make([][]turn, len(callers)), make([]sound, len(callers))
	var all sync.WaitGroup
	for i, each := range callers {
		each.ear.restart()
		all.Add(1)
		go func() {
			defer all.Done()
			turns[i] = each.turns(sentences, number)
		}()
	}
	all.Wait()
	for i, each := range callers {
		sounds[i] = each.ear.counted()
	}
	return turns, sounds
}

func ifNotEnd(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

func tell(event map[string]any) {
	_ = json.NewEncoder(os.Stdout).Encode(event)
}
