// The old client's `dispatch.create`, as its README shows it: Messenger, then SMS.
const Nexmo = require('nexmo');
const [host, port] = process.env.DISPATCH_HTTP.split(':');

const nexmo = new Nexmo(
  {
    apiKey: process.env.API_KEY,
    apiSecret: process.env.API_SECRET,
    applicationId: process.env.APPLICATION_ID,
    privateKey: process.env.PRIVATE_KEY,
  },
  { apiHost: host, port },
);

nexmo.dispatch.create(
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
      to: { type: 'sms', number: process.argv[2] || '447700900001' },
      message: { content: { type: 'text', text: 'Your table is ready.' } },
    },
  ],
  (error, data) => {
    console.log(JSON.stringify(error ? { error } : data));
    process.exitCode = error ? 1 : 0;
  },
);
