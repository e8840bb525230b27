/** Lets this browser's player in to a private recording: a grant becomes a cookie, so that no address has it. */

import { call } from "./session.js";

/** For the owner of a private recording; for all others, and all else, nothing is needed. Throws an Error to be shown. */
export async function letIn(recording) {
  if (recording.visibility !== "private" || recording.deleted_at !== null) return;
  const path = `/api/archives/${recording.stream_id}/access`;
  const { grant } = await call("POST", path);
  await call("PUT", path, { grant });
}
