"""Faxes, by a gateway in the house: an adapter for Dispatch, which knows no such channel. See README.md."""
import http.client, json, pathlib, sys, time, urllib.parse
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
import grpc

sys.path.append(str(pathlib.Path(__file__).resolve().parents[4] / "proto"))  # where adapter.proto is
pb, services = grpc.protos_and_services("dispatch/adapter/v1/adapter.proto")
REPORTS = {"arrived": {"reached": pb.STATUS_DELIVERED}, "given_up": {"failed": pb.MESSAGE_FAILURE_UNDELIVERABLE}}
FAILURES = {404: pb.CallFailure(kind=pb.FAILURE_KIND_INVALID_RECIPIENT, fault=pb.FAULT_RECIPIENT, retry=pb.RETRY_PERMANENT),
            429: pb.CallFailure(kind=pb.FAILURE_KIND_THROTTLED, fault=pb.FAULT_PROVIDER, retry=pb.RETRY_TEMPORARY)}
UNREACHABLE = pb.CallFailure(kind=pb.FAILURE_KIND_UNREACHABLE, fault=pb.FAULT_PROVIDER, retry=pb.RETRY_TEMPORARY)


def call(account, method, path, body=None, timeout=10.0):
    gateway = http.client.HTTPConnection(urllib.parse.urlsplit(account.settings["base_url"]).netloc, timeout=timeout)
    gateway.request(method, path, body, {"authorization": "Bearer " + account.secrets["token"]})
    answer = gateway.getresponse()
    return answer.status, answer.read()


class Fax(services.AdapterServiceServicer):
    taken = Counter()  # how far the receipts of each account were taken

    def Describe(self, request, context):
        base_url = pb.Setting(name="base_url", description="where the fax gateway is", required=True, url=True)
        token = pb.Setting(name="token", description="what calls are authorised with", required=True, secret=True)
        number = [pb.AddressForm(common=pb.COMMON_FORM_E164)]
        fax = pb.Channel(name="fax", content_kinds=[pb.CONTENT_KIND_TEXT], max_text_chars=2000, sender_forms=number,
                         recipient_forms=number, condition_statuses=[pb.STATUS_SUBMITTED, pb.STATUS_DELIVERED],
                         correlates_by_attempt_id=True)
        return pb.DescribeResponse(provider="fax", settings=[base_url, token], channels=[fax], listens=True)

    def Send(self, request, context):  # whatever is raised here counts as of unknown outcome
        fax = dict(to=request.recipient.number, text=request.content.text, reference=request.attempt_id)
        try:
            status, told = call(request.account, "POST", "/faxes", json.dumps(fax), context.time_remaining())
        except ConnectionRefusedError:
            return pb.SendResponse(failure=UNREACHABLE)
        if status in FAILURES:
            return pb.SendResponse(failure=FAILURES[status])
        return pb.SendResponse(accepted=pb.Accepted(provider_message_ids=[json.loads(told)["id"]]))

    def Listen(self, requests, context):
        accounts = next(requests).accounts.accounts
        while context.is_active():
            for account in accounts:
                if told := json.loads(call(account, "GET", f"/receipts?after={self.taken[account.name]}")[1]):
                    inbound = [pb.Inbound(receipt=pb.Receipt(attempt_id=it["reference"], **REPORTS[it["state"]])) for it in told]
                    yield pb.ListenResponse(batch_id=told[-1]["number"], account=account.name, inbound=inbound)
                    self.taken[account.name] = next(requests).acknowledgement.batch_id  # durable now
            time.sleep(0.5)


server = grpc.server(ThreadPoolExecutor(16))
services.add_AdapterServiceServicer_to_server(Fax(), server)
server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
