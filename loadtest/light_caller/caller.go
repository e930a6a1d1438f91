package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

const (
	joinWithin = 60 * time.Second
	poll       = 20 * time.Millisecond
	agentState = "lk.agent.state"
	agentError = "antiphon.error"
)

// One call.
type caller struct {
	room  *lksdk.Room
	ear   ear
	mouth mouth
	over  chan struct{} // closed when the line is lost

	lock     sync.Mutex
	state    string // as the agent told it last
	outcome  string // of the last timeline
	ended    time.Time
	heard    map[string]string // the caller's words as the agent wrote them, by segment
	said     map[string]string // and the agent's own
	sounding time.Time         // the agent's track came
}

// Join, publish, and wait for the agent; how long its track took.
func join(with ticket) (*caller, time.Duration, error) {
	c := &caller{over: make(chan struct{}), ear: ear{sizes: map[int]int{}}, state: "idle", heard: map[string]string{}, said: map[string]string{}}
	lost := sync.OnceFunc(func() { close(c.over) })
	callback := &lksdk.RoomCallback{
		OnDisconnected: lost,
		ParticipantCallback: lksdk.ParticipantCallback{
			OnTrackSubscribed: c.hear,
			OnDataPacket:      c.told,
		},
	}
	began := time.Now()
	c.room = lksdk.NewRoom(callback)
	if err := c.room.RegisterTextStreamHandler("lk.transcription", c.read); err != nil {
		return nil, 0, err
	}
	if err := c.room.JoinWithToken(with.URL, with.Token); err != nil {
		return nil, 0, err
	}
	if err := c.meet(); err != nil {
		c.leave()
		return nil, 0, err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	return c, c.sounding.Sub(began), nil
}

func (c *caller) meet() error {
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1;usedtx=1",
	})
	if err != nil {
		return err
	}
	c.mouth = mouth{began: time.Now(), write: func(p *rtp.Packet) error { return track.WriteRTP(p, nil) }}
	options := &lksdk.TrackPublicationOptions{Name: "microphone", Source: livekit.TrackSource_MICROPHONE}
	if _, err := c.room.LocalParticipant.PublishTrack(track, options); err != nil {
		return err
	}
	deadline := time.Now().Add(joinWithin)
	for time.Now().Before(deadline) {
		ready, err := c.ready()
		if ready || err != nil {
			return err
		}
		if err := c.mouth.send(silentPacket, true); err != nil {
			return err
		}
		time.Sleep(poll)
	}
	return fmt.Errorf("the agent did not come into the room, or was not ready, within %v", joinWithin)
}

// The agent can be heard, and is done with its preparations.
func (c *caller) ready() (bool, error) {
	for _, each := range c.room.GetRemoteParticipants() {
		if each.Kind() != lksdk.ParticipantAgent {
			continue
		}
		attributes := each.Attributes()
		if refusal := attributes[agentError]; refusal != "" {
			return false, errors.New("the agent refuses the call: " + refusal)
		}
		c.lock.Lock()
		sounding := !c.sounding.IsZero()
		c.lock.Unlock()
		if state := attributes[agentState]; sounding && state != "initializing" {
			return true, nil
		}
	}
	return false, nil
}

func (c *caller) leave() {
	if c.room != nil {
		c.room.Disconnect()
	}
}

func (c *caller) hear(track *webrtc.TrackRemote, _ *lksdk.RemoteTrackPublication, by *lksdk.RemoteParticipant) {
	if by.Kind() != lksdk.ParticipantAgent || track.Kind() != webrtc.RTPCodecTypeAudio {
		return
	}
	c.lock.Lock()
	if c.sounding.IsZero() {
		c.sounding = time.Now()
	}
	c.lock.Unlock()
	go func() { // until the track ends, at the latest with the room
		for {
			packet, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			c.ear.receive(time.Now(), packet.SequenceNumber, packet.Timestamp, len(packet.Payload))
		}
	}()
}

func (c *caller) told(data lksdk.DataPacket, _ lksdk.DataReceiveParams) {
	message, ok := data.(*lksdk.UserDataPacket)
	if !ok {
		return
	}
	var body struct{ State, Outcome string }
	if json.Unmarshal(message.Payload, &body) != nil {
		return
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	switch message.Topic {
	case "antiphon.state":
		c.state = body.State
	case "antiphon.timeline":
		c.outcome, c.ended = body.Outcome, time.Now()
	}
}

func (c *caller) read(stream *lksdk.TextStreamReader, by string) {
	text, attributes := stream.ReadAll(), stream.Info.Attributes
	if attributes["lk.transcription_final"] != "true" {
		return
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	words := c.said
	if by == c.room.LocalParticipant.Identity() {
		words = c.heard
	}
	words[attributes["lk.segment_id"]] = text
}
