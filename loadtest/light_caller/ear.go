package main

import (
	"math"
	"sync"
	"time"
)

const (
	louderBytes = 10                     // so many more than in silence has a packet with a voice or a tone in it
	windowMs    = 1000.0                 // the least delayed packet of so long says when each was due
	bufferMs    = 60.0                   // as long as a receiver keeps sound to even its pace out
	ticksPerMs  = 48.0                   // RTP time of Opus (RFC 7587)
	jitterShare = 1.0 / 16               // RFC 3550, 6.4.1
	quiet       = 300 * time.Millisecond // so long must it be silent before an answer has sounded to its end
)

// What came of the agent's track: late_ms after each packet was due, step_ms how far from their distance in the track
// the time between two packets was. A packet later than a receiver's buffer is a gap, and so is one that never came.
type sound struct {
	LateMs      []float64 `json:"late_ms"`
	StepMs      []float64 `json:"step_ms"`
	Packets     int       `json:"packets"`
	Lost        int       `json:"lost"`
	ConcealedMs float64   `json:"concealed_ms"`
	Gaps        int       `json:"gaps"`
	JitterMs    float64   `json:"jitter_ms"`
	BufferedMs  *float64  `json:"buffered_ms"` // nothing is decoded
}

type delay struct{ at, least float64 }

// Hears one track by its packets' sizes and times.
type ear struct {
	lock      sync.Mutex
	sound     sound
	began     time.Time
	delays    []delay // rising: the first is the least
	last      struct{ at, track float64 }
	sequence  uint16
	ticks     int64 // of the track's time, unwrapped
	lastTicks uint32
	heard     bool
	sizes     map[int]int // packets of so many bytes, until a first answer is waited for
	silence   int         // bytes of a packet without sound
	starving  bool
	loudFrom  time.Time // first loud packet since `listen`
	loudUntil time.Time
}

func (e *ear) restart() {
	e.lock.Lock()
	defer e.lock.Unlock()
	e.sound = sound{LateMs: []float64{}, StepMs: []float64{}}
}

func (e *ear) counted() sound {
	e.lock.Lock()
	defer e.lock.Unlock()
	return e.sound
}

// From now on a new answer is waited for. What came before the first one was silence.
func (e *ear) listen() {
	e.lock.Lock()
	defer e.lock.Unlock()
	for bytes, packets := range e.sizes {
		if packets > e.sizes[e.silence] {
			e.silence = bytes
		}
	}
	e.sizes = nil
	e.loudFrom = time.Time{}
}

func (e *ear) loud() (from, until time.Time) {
	e.lock.Lock()
	defer e.lock.Unlock()
	return e.loudFrom, e.loudUntil
}

func (e *ear) receive(arrived time.Time, sequence uint16, ticks uint32, bytes int) {
	e.lock.Lock()
	defer e.lock.Unlock()
	if e.sizes != nil {
		e.sizes[bytes]++
	} else if bytes > e.silence+louderBytes {
		e.loudUntil = arrived
		if e.loudFrom.IsZero() {
			e.loudFrom = arrived
		}
	}
	if !e.heard {
		e.heard, e.began, e.sequence, e.lastTicks = true, arrived, sequence-1, ticks
	}
	e.ticks += int64(int32(ticks - e.lastTicks))
	e.lastTicks = ticks
	e.sound.Packets++
	if missing := int16(sequence - e.sequence - 1); missing > 0 {
		e.sound.Lost += int(missing)
		e.gap(float64(missing) * packetTicks / ticksPerMs)
	}
	e.sequence = sequence
	e.punctual(float64(arrived.Sub(e.began).Microseconds())/1000, float64(e.ticks)/ticksPerMs)
}

// `at`: when the packet came; `track`: where in the track it belongs. Milliseconds.
func (e *ear) punctual(at, track float64) {
	own := at - track
	for len(e.delays) > 0 && e.delays[len(e.delays)-1].least >= own {
		e.delays = e.delays[:len(e.delays)-1]
	}
	e.delays = append(e.delays, delay{at, own})
	for e.delays[0].at < at-windowMs {
		e.delays = e.delays[1:]
	}
	late := own - e.delays[0].least
	step := math.Abs(at - e.last.at - (track - e.last.track))
	e.sound.LateMs = append(e.sound.LateMs, round(late))
	e.sound.StepMs = append(e.sound.StepMs, round(step))
	e.sound.JitterMs += (step - e.sound.JitterMs) * jitterShare
	if late > bufferMs && !e.starving {
		e.gap(late - bufferMs)
	}
	e.starving = late > bufferMs
	e.last.at, e.last.track = at, track
}

func (e *ear) gap(ms float64) {
	e.sound.Gaps++
	e.sound.ConcealedMs += ms
}

func round(ms float64) float64 { return math.Round(ms*10) / 10 }
