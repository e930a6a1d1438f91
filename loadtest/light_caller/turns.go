package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

const (
	answerWithin = 60 * time.Second
	timelineWait = 2 * time.Second // the texts follow the end of an answer
)

// Before a turn, so that callers do not speak in step.
var pauses = [2]time.Duration{300 * time.Millisecond, 1200 * time.Millisecond}

// One turn, or why it failed.
type turn struct {
	VoiceToVoiceMs *float64 `json:"voice_to_voice_ms,omitempty"`
	Heard          string   `json:"heard,omitempty"`
	Text           string   `json:"text,omitempty"`
	Failed         string   `json:"failed,omitempty"`
}

func (c *caller) turns(sentences []speech, number int) []turn {
	done := make([]turn, 0, number)
	for i := range number {
		c.wait(pauses[0] + rand.N(pauses[1]-pauses[0]))
		done = append(done, c.turn(&sentences[i%len(sentences)]))
	}
	return done
}

func (c *caller) turn(sentence *speech) turn {
	c.lock.Lock()
	c.outcome, c.ended = "", time.Time{}
	clear(c.heard)
	clear(c.said)
	c.lock.Unlock()
	c.ear.listen()
	asked, err := c.mouth.say(sentence)
	if err != nil {
		return turn{Failed: err.Error()}
	}
	deadline := time.Now().Add(answerWithin)
	for !c.settled() {
		if time.Now().After(deadline) {
			c.lock.Lock()
			defer c.lock.Unlock()
			return turn{Failed: fmt.Sprintf("no complete answer within %v; the agent is %s", answerWithin, c.state)}
		}
		if !c.wait(poll) {
			return turn{Failed: "the call was ended"}
		}
	}
	return c.result(asked)
}

// The answer is complete and has sounded to its end.
func (c *caller) settled() bool {
	_, until := c.ear.loud()
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.state != "idle" || c.ended.IsZero() {
		return false
	}
	now := time.Now()
	told := len(c.said) > 0 && len(c.heard) > 0
	return now.Sub(until) >= quiet && (told || now.Sub(c.ended) >= timelineWait)
}

func (c *caller) result(asked time.Time) turn {
	from, _ := c.ear.loud()
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.outcome != "answered" {
		return turn{Failed: "the answer is " + c.outcome}
	}
	if from.IsZero() {
		return turn{Failed: "the answer has no sound"}
	}
	waited := float64(from.Sub(asked).Microseconds()) / 1000
	return turn{VoiceToVoiceMs: &waited, Heard: joined(c.heard), Text: joined(c.said)}
}

func joined(segments map[string]string) string {
	texts := make([]string, 0, len(segments))
	for _, text := range segments {
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}

// A microphone that hears nothing, for so long; false when the line is lost meanwhile.
func (c *caller) wait(pause time.Duration) bool {
	until := time.Now().Add(pause)
	for {
		select {
		case <-c.over:
			return false
		case <-time.After(min(time.Until(until), silentRepeat)):
		}
		if !time.Now().Before(until) {
			return true
		}
		if c.mouth.send(silentPacket, true) != nil {
			return false
		}
	}
}
