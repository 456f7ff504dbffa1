#!/usr/bin/env bash
# What the old documentation has people run for one message: key and secret, and unquoted numbers.
FROM_NUMBER=447700900009
TO_NUMBER=447700900001

curl --silent -X POST "http://$DISPATCH_HTTP/v0.1/messages" \
  -u "$API_KEY:$API_SECRET" \
  -H 'Content-Type: application/json' \
  -H 'Accept: application/json' \
  -d '{
    "from": { "type": "sms", "number": '$FROM_NUMBER' },
    "to": { "type": "sms", "number": '$TO_NUMBER' },
    "message": { "content": { "type": "text", "text": "Your table is ready." } }
  }'
