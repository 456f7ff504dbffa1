// BullMQ: the job `first` sends, then adds the delayed job `second`; a receipt of the first removes it.
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { send, serve } from './common.mjs';

const connection = { host: '127.0.0.1', port: Number(process.env.REDIS_PORT), maxRetriesPerRequest: null };
const redis = new Redis(connection);
const queue = new Queue('failover', {
  connection,
  defaultJobOptions: { removeOnComplete: true, attempts: 10, backoff: { type: 'exponential', delay: 500 } },
});

new Worker(
  'failover',
  async ({ name, data: { id, expiry_ms } }) => {
    if (name === 'first') {
      await send(id, 1);
      await queue.add('second', { id }, { jobId: `${id}-second`, delay: expiry_ms });
      return;
    }
    if ((await redis.hget(`workflow:${id}`, 'first')) === 'delivered') return;
    await send(id, 2);
    await redis.hset(`workflow:${id}`, 'state', 'second sent');
  },
  { connection, concurrency: 200 },
);

serve({
  create: (id, expiry_ms) => queue.add('first', { id, expiry_ms }, { jobId: `${id}-first` }),
  receipt: async (id, step, status) => {
    if (step === 1) {
      await redis.hset(`workflow:${id}`, 'first', status);
      await queue.remove(`${id}-second`);
      return;
    }
    await redis.multi().hset(`workflow:${id}`, 'second', status, 'state', 'done').expire(`workflow:${id}`, 60).exec();
  },
});
