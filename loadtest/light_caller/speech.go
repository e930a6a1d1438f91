package main

import (
	"encoding/binary"
	"errors"
	"os"
	"time"

	"github.com/pion/rtp"
)

const (
	packet       = 20 * time.Millisecond
	packetTicks  = 960 // of 48 kHz
	silentBytes  = 3   // a packet of so many is not sent: the encoder has heard silence
	silentRepeat = 400 * time.Millisecond
)

// What an Opus encoder makes of silence, and sends now and then of a longer one.
var silentPacket = []byte{0xf8, 0xff, 0xfe}

type speech struct {
	File     string  `json:"file"`
	VoicedMs float64 `json:"voiced_ms"` // from its start to its last voiced sample
	packets  [][]byte
}

func (s *speech) read() error {
	content, err := os.ReadFile(s.File)
	if err != nil {
		return err
	}
	for len(content) >= 2 {
		length := int(binary.LittleEndian.Uint16(content))
		if len(content) < 2+length {
			return errors.New(s.File + ": it ends within a packet")
		}
		s.packets = append(s.packets, content[2:2+length])
		content = content[2+length:]
	}
	if len(s.packets) == 0 {
		return errors.New(s.File + ": there are no packets in it")
	}
	return nil
}

// A microphone: silence, and now and then a sentence. RTP time goes on while nothing is sent (RFC 7587).
type mouth struct {
	write    func(*rtp.Packet) error
	began    time.Time
	sequence uint16
}

// Say it at the pace of speech; the moment of its last voiced sample.
func (m *mouth) say(sentence *speech) (time.Time, error) {
	began := time.Now()
	silent := true
	for i, payload := range sentence.packets {
		time.Sleep(time.Until(began.Add(time.Duration(i+1) * packet))) // it has been recorded by then
		if len(payload) <= silentBytes {
			silent = true
			continue
		}
		if err := m.send(payload, silent); err != nil {
			return began, err
		}
		silent = false
	}
	return began.Add(time.Duration(sentence.VoicedMs * float64(time.Millisecond))), nil
}

func (m *mouth) send(payload []byte, first bool) error {
	m.sequence++
	ticks := uint32(time.Since(m.began)/packet) * packetTicks
	header := rtp.Header{Version: 2, Marker: first, SequenceNumber: m.sequence, Timestamp: ticks}
	return m.write(&rtp.Packet{Header: header, Payload: payload})
}
