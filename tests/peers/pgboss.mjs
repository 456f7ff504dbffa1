// pg-boss: the queue `first` sends, then fills the queue `second` with `startAfter`; the state is a table.
import pg from 'pg';
import { PgBoss } from 'pg-boss';
import { send, serve } from './common.mjs';

const connectionString = process.env.DATABASE;
const boss = new PgBoss({ connectionString, max: 20, supervise: true, schedule: false });
boss.on('error', (error) => console.error(error));
const database = new pg.Pool({ connectionString, max: 20 });
await boss.start();
await boss.createQueue('first');
await boss.createQueue('second');
await database.query('create table if not exists workflow(id text primary key, state text, first text, second text)');

const options = { batchSize: 200, pollingIntervalSeconds: 0.5, burstWhenBatchFull: true };
for (let worker = 0; worker < 3; worker += 1) {
  await boss.work('first', options, async (jobs) => {
    await Promise.all(jobs.map(({ data }) => send(data.id, 1)));
    const second = ({ data: { id, expiry_ms } }) => ({ data: { id }, startAfter: new Date(Date.now() + expiry_ms) });
    await boss.insert('second', jobs.map(second));
  });
  await boss.work('second', options, async (jobs) => {
    const ids = jobs.map(({ data }) => data.id);
    const { rows } = await database.query("select id from workflow where id = any($1) and first = 'delivered'", [ids]);
    const delivered = new Set(rows.map(({ id }) => id));
    await Promise.all(ids.filter((id) => !delivered.has(id)).map((id) => send(id, 2)));
  });
}

serve({
  create: (id, expiry_ms) => boss.send('first', { id, expiry_ms }),
  receipt: (id, step, status) => {
    const column = step === 1 ? 'first' : 'second';
    const sql = `insert into workflow(id, state, ${column}) values($1, $2, $3)
      on conflict(id) do update set state = $2, ${column} = $3`;
    return database.query(sql, [id, step === 1 ? 'first' : 'done', status]);
  },
});
