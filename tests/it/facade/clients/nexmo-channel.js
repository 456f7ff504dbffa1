// The old client's `channel.send`, as its README shows it: one message, without failover. That of 2018
// takes the host under another name, and calls another path.
const Nexmo = require(process.argv[3] || 'nexmo');
const [host, port] = process.env.DISPATCH_HTTP.split(':');

const nexmo = new Nexmo(
  {
    apiKey: process.env.API_KEY,
    apiSecret: process.env.API_SECRET,
    applicationId: process.env.APPLICATION_ID,
    privateKey: process.env.PRIVATE_KEY,
  },
  { apiHost: host, host, port },
);

nexmo.channel.send(
  { type: 'sms', number: process.argv[2] || '447700900001' },
  { type: 'sms', number: 'Dispatch' },
  { content: { type: 'text', text: 'Your table is ready.' } },
  (error, data) => {
    console.log(JSON.stringify(error ? { error } : data));
    process.exitCode = error ? 1 : 0;
  },
);
