// Today's client's `messages.send` without failover, pointed here.
const { Auth } = require('@vonage/auth');
const { Vonage } = require('@vonage/server-sdk');

const vonage = new Vonage(
  new Auth({
    apiKey: process.env.API_KEY,
    apiSecret: process.env.API_SECRET,
    applicationId: process.env.APPLICATION_ID,
    privateKey: process.env.PRIVATE_KEY,
  }),
  { apiHost: `http://${process.env.DISPATCH_HTTP}` },
);

vonage.messages
  .send({
    channel: 'sms',
    messageType: 'text',
    from: 'Dispatch',
    to: '447700900001',
    text: 'Your table is ready.',
    ttl: 600,
    clientRef: 'order-17',
  })
  .then((answer) => console.log(JSON.stringify(answer)))
  .catch(async (error) => {
    const told = error.response ? await error.response.text() : String(error);
    console.log(JSON.stringify({ error: told }));
    process.exitCode = 1;
  });
