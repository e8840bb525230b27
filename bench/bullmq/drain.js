// Drains a queue of jobs that do nothing: how many a second BullMQ takes from Redis, works off and marks as done.
"use strict";

const { Queue, Worker } = require("bullmq");

const JOBS = Number(process.env.JOBS);
const CHUNK = 1000;
const CONCURRENCY = 200;
const address = new URL(process.env.REDIS_URL);
const connection = {
  host: address.hostname,
  port: Number(address.port),
  username: decodeURIComponent(address.username) || undefined,
  password: decodeURIComponent(address.password) || undefined,
  db: Number(address.pathname.slice(1) || 0),
  maxRetriesPerRequest: null,
};
const name = `bench-${process.pid}`;

async function main() {
  const queue = new Queue(name, { connection });
  const options = { removeOnComplete: true, removeOnFail: true };
  for (let first = 0; first < JOBS; first += CHUNK) {
    const size = Math.min(CHUNK, JOBS - first);
    await queue.addBulk(
      Array.from({ length: size }, (_, n) => ({ name: "notify", data: { recipient: first + n }, opts: options })),
    );
  }
  let done = 0;
  let finish;
  const all = new Promise((resolve) => (finish = resolve));
  const worker = new Worker(name, async () => {}, { connection, concurrency: CONCURRENCY, autorun: false });
  worker.on("completed", () => {
    done += 1;
    if (done === JOBS) finish();
  });
  worker.on("error", (error) => console.error(error));
  const began = process.hrtime.bigint();
  const running = worker.run();
  await all;
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  await worker.close();
  await running;
  await queue.obliterate({ force: true });
  await queue.close();
  console.log(JSON.stringify({ jobs_per_second: JOBS / seconds }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
