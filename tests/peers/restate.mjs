// Restate: one workflow of steps and durable promises. Creates and receipts go to its own ingress.
import http2 from 'node:http2';
import * as restate from '@restatedev/restate-sdk';
import { send } from './common.mjs';

const failover = restate.workflow({
  name: 'Failover',
  handlers: {
    run: async (context, { id, expiry_ms }) => {
      await context.run('messenger', () => send(id, 1));
      let status;
      try {
        status = await context.promise('receipt-1').get().orTimeout(expiry_ms);
      } catch (error) {
        if (!(error instanceof restate.TimeoutError)) throw error;
      }
      if (status === 'delivered') return status;
      await context.run('sms', () => send(id, 2));
      return context.promise('receipt-2').get();
    },
    receipt: (context, { client_ref, status }) =>
      context.promise(`receipt-${client_ref.split('.')[1]}`).resolve(status),
  },
  options: { journalRetention: 0, workflowRetention: 60_000 },
});
http2
  .createServer(restate.createEndpointHandler({ services: [failover] }))
  .listen(Number(process.env.PORT), '127.0.0.1');
