// DBOS: one durable workflow of steps and messages.
import { DBOS } from '@dbos-inc/dbos-sdk';
import { send, serve } from './common.mjs';

DBOS.setConfig({
  name: 'failover',
  systemDatabaseUrl: process.env.DATABASE,
  systemDatabasePoolSize: 20,
  logLevel: 'error',
  runAdminServer: false,
});
const failover = DBOS.registerWorkflow(
  async (id, expiry_ms) => {
    await DBOS.runStep(() => send(id, 1), { name: 'messenger' });
    const status = await DBOS.recv('receipt-1', expiry_ms / 1000);
    if (status === 'delivered') return status;
    await DBOS.runStep(() => send(id, 2), { name: 'sms' });
    return DBOS.recv('receipt-2', 86_400);
  },
  { name: 'failover' },
);
await DBOS.launch();

serve({
  create: (id, expiry_ms) => DBOS.startWorkflow(failover, { workflowID: id })(id, expiry_ms),
  receipt: (id, step, status) => DBOS.send(id, status, `receipt-${step}`),
});
