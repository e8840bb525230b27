/** Lets this browser's player in to what is private: a grant becomes a cookie, a stream gets an address for minutes. */

import { ask, call } from "./session.js";

/** Where a stream plays for whoever is here, with the stream. Throws an Error to be shown. */
export const open = (streamId, invitation) => ask("POST", `/api/streams/${streamId}/playback`, invitation ? { invitation } : {});

/** For the owner of a private recording; for all others, and all else, nothing is needed. Throws an Error to be shown. */
export async function letIn(recording) {
  if (recording.visibility !== "private" || recording.deleted_at !== null) return;
  const path = `/api/archives/${recording.stream_id}/access`;
  const { grant } = await call("POST", path);
  await call("PUT", path, { grant });
}
