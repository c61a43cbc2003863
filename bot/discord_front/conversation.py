"""Talking: mentions of the bot, replies to it, direct messages, and threads that hang on its messages."""

from __future__ import annotations

import logging
import secrets
from math import ceil
from typing import TYPE_CHECKING

import discord

from bot.discord_front.access import caller_of_message
from bot.discord_front.api import TROUBLE
from bot.discord_front.persona import persona_name
from bot.discord_front.render import body, literal, reply_text, spoken_in, text_of
from bot.discord_front.speaking import model_behind, reply_buttons
from bot.records import Caller, ModelVersion
from bot.strings import Strings, languages, strings
from bot.windows import Window
from models.errors import NoSuchModel, NotAllowed, UserError

if TYPE_CHECKING:
    from bot.discord_front.client import Mockingbird

log = logging.getLogger(__name__)

MAX_CHAIN = 6  # messages before the one that is answered
LOOP_WINDOW_S = 60.0
LOOP_LIMIT = 15  # answers in one channel within the window; more look like two bots talking to each other
MAX_THREADS = 1000  # whose beginnings are remembered
SILENT_RULES = ("served_server", "served_member", "channel")  # nothing is said where it may not be


class Conversation:
    """Answers messages; never a bot's or a webhook's, which might answer back for ever."""

    def __init__(self, client: Mockingbird) -> None:
        self._client = client
        self._answers = Window(LOOP_WINDOW_S)
        self._warned = Window(LOOP_WINDOW_S)
        self._own_threads: dict[int, bool] = {}

    async def hear(self, message: discord.Message) -> None:
        """Answer the message if it is said to the bot."""
        if message.author.bot or message.webhook_id or message.is_system() or not await self._is_to_me(message):
            return
        caller, say = caller_of_message(message), self._language(message)
        if wait_s := self._answers.wait_s(message.channel.id, LOOP_LIMIT):
            if self._warned.count(message.channel.id) == 0:
                self._warned.add(message.channel.id)
                await self._reply(message, say("say.too_fast", seconds=ceil(wait_s)))
            return
        self._answers.add(message.channel.id)
        try:
            self._client.service.require_say(caller)
            async with message.channel.typing():
                await self._answer(message, caller, say)
        except NotAllowed as exc:
            if exc.rule not in SILENT_RULES:
                await self._reply(message, literal(say.error(exc), mentions=True))
        except UserError as exc:
            nobody = isinstance(exc, NoSuchModel) and exc.name is None and message.guild is None
            await self._reply(message, say("say.no_model_private") if nobody else literal(say.error(exc)))
        except discord.Forbidden:
            log.warning("a mention can't be answered in channel %d: no permission to write there", message.channel.id)
        except TROUBLE:
            raise
        except Exception:
            error_id = secrets.token_hex(4)
            log.exception("a mention can't be answered, error %s", error_id)
            await self._reply(message, say("error.apology", id=error_id))

    def said_to_me(self, message: discord.Message) -> str:
        """What a member's message says, without the mention of the bot and the choice of a model."""
        return self._choice(message, caller_of_message(message))[1]

    async def _answer(self, message: discord.Message, caller: Caller, say: Strings) -> None:
        service = self._client.service
        model, text = self._choice(message, caller)
        chain = await self._chain(message)
        if model is None:
            model = self._voice_of(chain, caller) or service.library.default(caller)
        said = [line for line in (*(self.said(m) for m in chain), text) if line]
        spoken = await service.say(caller, model=model, answers=said)
        links, view = service.settings.of(caller.server_id).links, reply_buttons(caller, model, say)
        if self._client.speaks_as_model(caller, message.channel):
            parts = body(reply_text(spoken, say, links=links, quoted=text))
            await self._client.speak_as_model(message.channel, model, say, view, parts)
        else:
            await self._reply(message, reply_text(spoken, say, links=links), view=view)

    async def _reply(
        self, message: discord.Message, text: str, *, view: discord.ui.View = discord.utils.MISSING
    ) -> None:
        allowed = discord.AllowedMentions(everyone=False, users=False, roles=False, replied_user=True)
        reference = message.to_reference(fail_if_not_exists=False)  # it may be deleted by now
        parts = body(text)
        await message.channel.send(
            reference=reference,
            allowed_mentions=allowed,
            suppress_embeds="embed" not in parts,
            view=view,
            **parts,
        )

    # --- to whom, in whose voice, about what --------------------------------------------------------------------------

    async def _is_to_me(self, message: discord.Message) -> bool:
        me = self._client.user
        if me is None:
            return False
        if me in message.mentions or message.guild is None:
            return True
        settings = self._client.service.settings.of(message.guild.id)
        if not message.content or not self._client.intents.message_content:
            return False
        if self._is_mine(message.reference.resolved if message.reference else None):
            return True  # a reply to a message under a model's name mentions nobody
        return settings.threads and await self._is_in_own_thread(message)

    async def _is_in_own_thread(self, message: discord.Message) -> bool:
        """Whether the thread hangs on a message of the bot: such a thread has that message's id."""
        thread = message.channel
        if not isinstance(thread, discord.Thread):
            return False
        if thread.id not in self._own_threads:
            if len(self._own_threads) >= MAX_THREADS:
                self._own_threads.clear()
            parent = self._client.get_partial_messageable(thread.parent_id)
            try:
                self._own_threads[thread.id] = self._is_mine(await parent.fetch_message(thread.id))
            except discord.HTTPException:
                self._own_threads[thread.id] = False
        return self._own_threads[thread.id]

    def _is_mine(self, message: object) -> bool:
        if not isinstance(message, discord.Message):
            return False
        by_me = message.author.id == (self._client.user.id if self._client.user else 0)
        return by_me or (message.webhook_id is not None and message.application_id == self._client.application_id)

    def _choice(self, message: discord.Message, caller: Caller) -> tuple[ModelVersion | None, str]:
        """(the model that `@handle` at the beginning picks, or None; the rest of what is said)."""
        me = self._client.user
        assert me is not None
        text = message.content
        for mention in (f"<@{me.id}>", f"<@!{me.id}>"):
            text = text.replace(mention, " ")
        for user in message.mentions:
            for mention in (f"<@{user.id}>", f"<@!{user.id}>"):
                text = text.replace(mention, f"@{user.display_name}")
        text = " ".join(text.split())
        first, _, rest = text.partition(" ")
        if first.startswith("@"):
            wanted = first.removeprefix("@").rstrip(",:").lower()
            for model in self._client.service.library.visible(caller):
                if wanted == model.name.lower() or (wanted,) == model.handles:
                    return model, rest
        return None, text

    async def _chain(self, message: discord.Message) -> list[discord.Message]:
        """The messages that led up to this one, oldest first: what it replies to, or what stands above in a thread."""
        chain: list[discord.Message] = []
        current = message
        while len(chain) < MAX_CHAIN and (reference := current.reference) and reference.message_id:
            before = reference.resolved
            if not isinstance(before, discord.Message):
                try:
                    before = await message.channel.fetch_message(reference.message_id)
                except discord.HTTPException:
                    break
            chain.insert(0, before)
            current = before
        if not chain and isinstance(message.channel, discord.Thread) and await self._is_in_own_thread(message):
            try:
                chain = [m async for m in message.channel.history(limit=MAX_CHAIN, before=message)][::-1]
            except discord.HTTPException:
                pass
        return chain

    def said(self, message: discord.Message) -> str:
        """What a message says: of a member without mentions of the bot, of the bot without labels and quotes."""
        return spoken_in(text_of(message)) if self._is_mine(message) else self.said_to_me(message)

    def _voice_of(self, chain: list[discord.Message], caller: Caller) -> ModelVersion | None:
        """The model whose message is replied to, so that it goes on in that voice."""
        if not chain or not self._is_mine(chain[-1]):
            return None
        models, wanted = self._client.service.library.visible(caller), model_behind(chain[-1])
        if wanted is None and chain[-1].webhook_id:  # without the intent a webhook's message comes without its buttons
            name = chain[-1].author.name
            return next((m for m in models if name in [persona_name(m, strings(code)) for code in languages()]), None)
        return next((m for m in models if m.model_id == wanted), None)

    def _language(self, message: discord.Message) -> Strings:
        return strings(message.guild.preferred_locale.value if message.guild else None)
