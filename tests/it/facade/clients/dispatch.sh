#!/usr/bin/env bash
# What the old documentation has people run: key and secret, and ids that the shell leaves unquoted.
FB_SENDER_ID=107083064136738
FB_RECIPIENT_ID=1000000000000001
FROM_NUMBER=447700900009
TO_NUMBER=447700900001

curl --silent -X POST "http://$DISPATCH_HTTP/v0.1/dispatch" \
  -u "$API_KEY:$API_SECRET" \
  -H 'Content-Type: application/json' \
  -H 'Accept: application/json' \
  -d '{
    "template": "failover",
    "workflow": [
      {
        "from": { "type": "messenger", "id": '$FB_SENDER_ID' },
        "to": { "type": "messenger", "id": '$FB_RECIPIENT_ID' },
        "message": { "content": { "type": "text", "text": "Your table is ready." } },
        "failover": { "expiry_time": 600, "condition_status": "read" }
      },
      {
        "from": { "type": "sms", "number": '$FROM_NUMBER' },
        "to": { "type": "sms", "number": '$TO_NUMBER' },
        "message": { "content": { "type": "text", "text": "Your table is ready." } }
      }
    ]
  }'
