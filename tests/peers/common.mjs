// What all workers share: the call to the provider, and the two routes that `dispatch-bench life` calls.
import http from 'node:http';
import { Pool } from 'undici';

const provider = new Pool(process.env.PROVIDER, { connections: 32, pipelining: 1 });
const text = 'Your order is ready at our shop in the old town. '.repeat(4).slice(0, 160);

// Sends the message of a step as Vonage's Messages API takes it; returns the provider's id.
export async function send(id, step) {
  const [channel, from, to] =
    step === 1 ? ['messenger', '107083064136738', `1${id}`] : ['sms', '447700900000', `44${id}`];
  const message = { message_type: 'text', channel, from, to, text, client_ref: `${id}.${step}` };
  const { statusCode, body } = await provider.request({
    path: '/v1/messages',
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(message),
  });
  const answer = await body.json();
  if (statusCode !== 202) throw new Error(`the provider said ${statusCode}`);
  return answer.message_uuid;
}

// Takes creates, and receipts as Vonage posts them; answers once what was asked for is durable.
export function serve({ create, receipt }) {
  const routes = {
    '/create': ({ id, expiry_ms }) => create(id, expiry_ms),
    '/receipt': ({ client_ref, status }) => {
      const [id, step] = client_ref.split('.');
      return receipt(id, Number(step), status);
    },
  };
  http.createServer((request, answer) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (more) => (body += more));
    request.on('end', async () => {
      try {
        await routes[request.url](JSON.parse(body));
        answer.statusCode = 202;
      } catch (error) {
        console.error(error);
        answer.statusCode = 500;
      }
      answer.end();
    });
  }).listen(Number(process.env.PORT), '127.0.0.1');
}
