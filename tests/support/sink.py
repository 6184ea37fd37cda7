"""A receiver whose every reply can be scripted, and which keeps what it got byte for byte.

    sink = case.sink(port=port, address="127.0.0.2", script={
        "greeting": b"220 hello\r\n",
        "rcpt": lambda s, arg: b"550 5.1.1 no\r\n" if b"no@" in arg else None,     # None: the usual reply
        "dot": [b"451 4.3.0 later\r\n", None],                                     # one per time, the last repeats
    })
    sink.wait(3); sink.messages[0].content

Keys: greeting, ehlo, helo, mail, rcpt, data, content (before any is read), dot, quit, rset, starttls, other. A reply is
None, octets, an action, or a call (session, argument) that returns one of them. Actions:
    DROP (close), RESET (close with RST), HANG (say nothing more), DEAF (never read again), then(octets, action),
    endless(octets) (write them for ever), slow(octets, seconds) (one at a time)."""
import asyncio
import socket
import struct
import threading
import time

from waiting import wait_until


class Action:
    def __init__(self, kind, octets=b"", then=None, seconds=0.0):
        self.kind, self.octets, self.next, self.seconds = kind, octets, then, seconds


DROP, RESET, HANG, DEAF = Action("drop"), Action("reset"), Action("hang"), Action("deaf")


def then(octets, action):
    return Action("then", octets, action)


def endless(octets):
    return Action("endless", octets)


def slow(octets, seconds):
    return Action("slow", octets, seconds=seconds)


class Message:
    def __init__(self, session, mail, rcpts, content, accepted):
        self.mail, self.rcpts, self.content, self.accepted = mail, rcpts, content, accepted
        self.helo, self.session_number, self.at = session.helo, session.number, time.monotonic()
        self.peer = session.peer
        self.began, self.ended = session.began, time.time()  # when its MAIL and its end were read, by the clock of logs

    @property
    def sender(self):
        return path_of(self.mail)

    @property
    def recipients(self):
        return [path_of(r) for r in self.rcpts]

    def body_without_trace(self):
        """The content less the trace field that a relay puts in front."""
        return without_trace(self.content)


def path_of(argument):
    return argument[argument.index(b"<") + 1:argument.index(b">")].decode("utf-8", "surrogateescape")


def without_trace(content):
    """Removes the Received fields at the very top, folded lines included."""
    while content.lower().startswith(b"received:"):
        end = content.index(b"\r\n") + 2
        while content[end:end + 1] in (b" ", b"\t"):
            end = content.index(b"\r\n", end) + 2
        content = content[end:]
    return content


class _Done(Exception):
    pass


class Session:
    def __init__(self, sink, reader, writer, number):
        self.sink, self.reader, self.writer, self.number = sink, reader, writer, number
        self.helo, self.mail, self.rcpts, self.commands, self.began = None, None, [], [], 0.0
        self.peer = writer.get_extra_info("peername")[0]

    async def reply(self, key, argument, usual):
        answer = self.sink.scripted(key, self, argument)
        await self.act(usual if answer is None else answer)
        return usual if answer is None else answer

    async def act(self, answer):
        if isinstance(answer, bytes):
            self.writer.write(answer)
            await self.writer.drain()
            return
        if answer.kind == "then":
            self.writer.write(answer.octets)
            await self.writer.drain()
            await self.act(answer.next)
        elif answer.kind == "slow":
            for octet in answer.octets:
                self.writer.write(bytes([octet]))
                await self.writer.drain()
                await asyncio.sleep(answer.seconds)
        elif answer.kind == "endless":
            while True:
                self.writer.write(answer.octets * 100)
                await self.writer.drain()
        elif answer.kind == "hang":
            while await self.reader.read(65536):
                pass
            raise _Done
        elif answer.kind == "deaf":
            self.writer.transport.pause_reading()
            await asyncio.sleep(3600)
        elif answer.kind == "reset":
            s = self.writer.get_extra_info("socket")
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
            raise _Done
        else:
            raise _Done

    async def line(self):
        line = await self.reader.readline()
        if not line.endswith(b"\n"):
            raise _Done
        return line

    async def run(self):
        await self.reply("greeting", b"", b"220 sink.test ESMTP\r\n")
        while True:
            line = (await self.line()).rstrip(b"\r\n")
            self.commands.append(line)
            verb, _, argument = line.partition(b" ")
            handler = getattr(self, "do_" + verb.lower().decode("ascii", "replace"), None)
            if handler is None:
                await self.reply("other", line, b"500 5.5.2 unknown\r\n")
            else:
                await handler(argument)

    async def do_ehlo(self, argument):
        self.helo = argument
        lines = [b"sink.test"] + list(self.sink.extensions)
        usual = b"".join(b"250" + (b" " if i == len(lines) - 1 else b"-") + l + b"\r\n" for i, l in enumerate(lines))
        await self.reply("ehlo", argument, usual)

    async def do_lhlo(self, argument):
        await self.do_ehlo(argument)

    async def do_helo(self, argument):
        self.helo = argument
        await self.reply("helo", argument, b"250 sink.test\r\n")

    async def do_mail(self, argument):
        self.mail, self.rcpts, self.began = argument, [], time.time()
        await self.reply("mail", argument, b"250 2.1.0 ok\r\n")

    async def do_rcpt(self, argument):
        answer = await self.reply("rcpt", argument, b"250 2.1.5 ok\r\n")
        if isinstance(answer, bytes) and answer.startswith(b"2"):
            self.rcpts.append(argument)

    async def do_rset(self, argument):
        self.mail, self.rcpts = None, []
        await self.reply("rset", argument, b"250 2.0.0 ok\r\n")

    async def do_noop(self, argument):
        await self.act(b"250 2.0.0 ok\r\n")

    async def do_quit(self, argument):
        await self.reply("quit", argument, b"221 2.0.0 bye\r\n")
        raise _Done

    async def do_data(self, argument):
        if not self.rcpts:
            await self.act(b"503 5.5.1 no recipients\r\n")
            return
        answer = await self.reply("data", argument, b"354 go on\r\n")
        if not (isinstance(answer, bytes) and answer.startswith(b"3")):
            return
        action = self.sink.scripted("content", self, b"")
        if action is not None:
            await self.act(action)
        content = bytearray()
        while True:
            line = await self.line()
            if line == b".\r\n":
                break
            content += line[1:] if line.startswith(b".") else line
        await self.finish(bytes(content))

    async def do_bdat(self, argument):
        size, _, last = argument.partition(b" ")
        self.chunks = getattr(self, "chunks", b"") + await self.reader.readexactly(int(size))
        if last.upper() != b"LAST":
            await self.act(b"250 2.0.0 more\r\n")
            return
        content, self.chunks = self.chunks, b""
        await self.finish(content)

    async def finish(self, content):
        self.content = content
        usual = b"250 2.0.0 taken\r\n"
        answer = self.sink.scripted("dot", self, content)
        answer = usual if answer is None else answer
        accepted = isinstance(answer, bytes) and answer.startswith(b"2")
        self.sink.keep(Message(self, self.mail, list(self.rcpts), content, accepted))
        self.mail, self.rcpts = None, []
        await self.act(answer)


class Sink:
    EXTENSIONS = (b"PIPELINING", b"8BITMIME", b"SIZE 104857600", b"ENHANCEDSTATUSCODES", b"DSN")

    def __init__(self, port=0, address="127.0.0.1", script=None, extensions=EXTENSIONS, backlog=200):
        self.extensions, self.script = extensions, dict(script or {})
        self.everything, self.sessions = [], []
        self.lag = 0.0  # seconds, the worst so far
        self._lock = threading.Lock()
        self._tasks = set()
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, port))
        self._socket.listen(backlog)
        self.address, self.port = address, self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started = threading.Event()
        self._thread.start()
        self._started.wait()

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, sock=self._socket, limit=8 * 1024 * 1024))
        self._loop.create_task(self._measure_lag())
        self._started.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _measure_lag(self):
        """How far behind this program may be when it reads a clock, on a machine with more to do than processors."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.02)
            self.lag = max(self.lag, time.monotonic() - began - 0.02)

    async def _serve(self, reader, writer):
        with self._lock:
            session = Session(self, reader, writer, len(self.sessions))
            self.sessions.append(session)
        try:
            await session.run()
        except (_Done, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            if not writer.transport.is_closing():
                writer.close()

    def scripted(self, key, session, argument):
        answer = self.script.get(key)
        if isinstance(answer, list):
            with self._lock:
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer(session, argument) if callable(answer) else answer

    def keep(self, message):
        with self._lock:
            self.everything.append(message)

    @property
    def messages(self):
        """Those that were answered 2yz."""
        with self._lock:
            return [m for m in self.everything if m.accepted]

    def to(self, recipient):
        return [m for m in self.messages if recipient in m.recipients]

    def wait(self, count, seconds=30, more=""):
        wait_until(lambda: len(self.messages) >= count, seconds,
                   lambda: f"{count} messages at {self.address}:{self.port}; {len(self.messages)} came "
                           + (more() if callable(more) else more))
        return self.messages

    def close(self):
        if self._loop.is_closed():
            return

        def end():
            self._server.close()
            self._loop.stop()
        self._loop.call_soon_threadsafe(end)
        self._thread.join(10)


class Unanswering:
    """An address where a connection attempt is never answered, as with a dead path: the queue of a listening socket is
    full, so the kernel drops further SYNs."""

    def __init__(self, port, address="::1"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.listener.bind((address, port))
        self.listener.listen(0)
        self.fillers = []
        for _ in range(8):
            s = socket.socket(family)
            s.settimeout(0.3)
            self.fillers.append(s)
            try:
                s.connect((address, port))
            except OSError:
                return
        raise AssertionError("the kernel still answers")

    def close(self):
        for s in self.fillers + [self.listener]:
            s.close()
