// The client of 2018, when Dispatch was called Workflows: `workflow.create`.
const Nexmo = require('nexmo-2018');
const [host, port] = process.env.DISPATCH_HTTP.split(':');

const nexmo = new Nexmo(
  {
    apiKey: process.env.API_KEY,
    apiSecret: process.env.API_SECRET,
    applicationId: process.env.APPLICATION_ID,
    privateKey: process.env.PRIVATE_KEY,
  },
  { host, port },
);

nexmo.workflow.create(
  'failover',
  [
    {
      from: { type: 'messenger', id: '107083064136738' },
      to: { type: 'messenger', id: '1000000000000001' },
      message: { content: { type: 'text', text: 'Your table is ready.' } },
      failover: { expiry_time: 600, condition_status: 'read' },
    },
    {
      from: { type: 'sms', number: 'Dispatch' },
      to: { type: 'sms', number: '447700900001' },
      message: { content: { type: 'text', text: 'Your table is ready.' } },
    },
  ],
  (error, data) => {
    console.log(JSON.stringify(error ? { error } : data));
    process.exitCode = error ? 1 : 0;
  },
);
