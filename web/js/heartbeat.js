/** Says every 20 s that a live stream plays here: that is what its viewers are counted by. */

const LOOK_MS = 2_000;
let timer = null;
let watching = 0;

/** Nobody watches here any more. */
export function stop() {
  watching += 1;
  clearTimeout(timer);
}

/**
 * Count whoever is here as a viewer of a stream, while the video plays; `show` is told how many there are, `signature`
 * gives what a private stream asks for.
 */
export function start(streamId, show, signature) {
  stop();
  const mine = watching;
  const again = (milliseconds) => {
    if (mine === watching) timer = setTimeout(say, milliseconds);
  };
  const say = async () => {
    const video = document.getElementById("video");
    if (video.paused || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return again(LOOK_MS);
    const answer = await fetch(`/api/streams/${streamId}/heartbeat`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ position_seconds: video.currentTime, signature: signature() }),
    }).catch(() => null);
    if (answer?.status === 404 || mine !== watching) return undefined; // over, or elsewhere by now
    const said = answer?.ok ? await answer.json() : {};
    if (said.viewers) show(said.viewers);
    return again((said.next_seconds ?? 20) * 1_000);
  };
  again(LOOK_MS);
}
