from __future__ import annotations
from tests.conftest import Server, StartServer, APP_TOKEN, USER_KEY
from tests.push.scripted import ScriptedSender
from tests.push.test_callbacks import until

async def test_smoke(start_server: StartServer) -> None:
    sender = ScriptedSender()
    server = await start_server(find_sender={"apns:app.example": sender}.get,
       topic_devices=[{"topics":["alerts"],"token":"ab"*32,"bundle-id":"app.example"}],
       apns=[{"bundle-id":"app.example","certificate-file":"/dev/null"}])
    await server.publish("alerts", "hi")
    await until(lambda: len(sender.pushes)==1)
