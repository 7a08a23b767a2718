"""An upload that stops half-way until it is let go on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

_DEADLINE_S = 20


@dataclass(frozen=True, slots=True)
class HeldUpload:
    """A multipart form, all but its end sent."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @staticmethod
    async def begin(url: str, file: str, content: bytes, **fields: str) -> HeldUpload:
        """Returns once the gateway reads the form, for only then it asks for the body (RFC 9110, section 10.1.1).

        Tries again while it is refused: an upload of a test before may still have its place.
        """
        to = urlsplit(url)
        head = (
            f"POST {to.path} HTTP/1.1\r\nHost: {to.netloc}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        async with asyncio.timeout(_DEADLINE_S):
            while True:
                upload = HeldUpload(*await asyncio.open_connection(to.hostname, to.port))
                upload.writer.write(head.encode())
                if await upload._status() == 100:
                    break
                await upload.leave()
        for name, value in fields.items():
            upload._send(f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
        disposition = f'--b\r\nContent-Disposition: form-data; name="{file}"; filename="a.mp4"\r\n\r\n'
        upload._send(disposition.encode() + content)
        return upload

    async def finish(self) -> int:
        """Send the end; the status of the answer."""
        self._send(b"\r\n--b--\r\n")
        self.writer.write(b"0\r\n\r\n")
        async with asyncio.timeout(_DEADLINE_S):
            status = await self._status()
        await self.leave()
        return status

    async def leave(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()

    def _send(self, chunk: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    async def _status(self) -> int:
        answer = await self.reader.readuntil(b"\r\n\r\n")
        return int(answer.split(None, 2)[1])
