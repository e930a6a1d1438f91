// What a room hears of the microphone: a copy of its track, so that it can be held back while the page still listens.
// Where there is no microphone it is silence: rooms announce who sends something at once, and others when they have time.

export class RoomMicrophone {
  constructor(context) {
    this.context = context;
    this.room = null;
    this.publication = null;
    this.microphone = null;
    this.copy = null;
    this.held = false;
    this.changes = Promise.resolve(); // one after the other: a publication takes a moment
  }

  /** The room is open. Done when somebody there listens: only then does the agent know us. */
  async publishIn(room, RoomEvent) {
    const heard = new Promise((resolve) => room.once(RoomEvent.LocalTrackSubscribed, resolve));
    this.room = room;
    await this._change(() => this._publish());
    await heard;
  }

  /** From now on this one; null: none. */
  use(microphone) {
    this.microphone = microphone;
    return this._change(() => this._publish());
  }

  /** Nothing of it is heard in the room, which is told so. */
  hold(on) {
    this.held = on;
    return this._change(() => this._hold());
  }

  close() {
    this.room = null;
    this.copy?.stop();
  }

  _change(change) {
    // What fails is a room that is being left or mended; a mended one publishes again what it knows of.
    this.changes = this.changes.then(change).catch(() => {});
    return this.changes;
  }

  async _publish() {
    if (!this.room) return;
    const before = this.copy;
    this.copy = this.microphone?.track.clone() ?? this._silence();
    if (this.publication) await this.publication.track.replaceTrack(this.copy, true);
    else {
      // Without discontinuous transmission: it would swallow the first sounds after silence.
      const how = { source: "microphone", name: "microphone", dtx: false };
      this.publication = await this.room.localParticipant.publishTrack(this.copy, how);
    }
    before?.stop();
    await this._hold();
  }

  async _hold() {
    if (this.publication) await (this.held ? this.publication.mute() : this.publication.unmute());
  }

  _silence() {
    return this.context.createMediaStreamDestination().stream.getAudioTracks()[0];
  }
}
