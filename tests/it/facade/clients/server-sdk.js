// Today's client's `messages.send` with failover, pointed here; and what its API lacks: a time and a
// condition.
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
    channel: 'messenger',
    messageType: 'text',
    from: '107083064136738',
    to: '1000000000000001',
    text: 'Your table is ready.',
    expiryTime: 600,
    conditionStatus: 'read',
    failover: [
      {
        channel: 'sms',
        messageType: 'text',
        from: 'Dispatch',
        to: '447700900001',
        text: 'Your table is ready.',
      },
    ],
  })
  .then((answer) => console.log(JSON.stringify(answer)))
  .catch(async (error) => {
    const told = error.response ? await error.response.text() : String(error);
    console.log(JSON.stringify({ error: told }));
    process.exitCode = 1;
  });
