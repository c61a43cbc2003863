"""Every error of the house. Facts are attributes; the sentence is built from them.

MockingbirdError
├── UserError              its sentence is for the person who asked, and says what to do
│   ├── Unreadable         a file that is not what it should be
│   ├── NoPosts            a source without a single usable post
│   ├── TooFewPosts        less text than a voice needs
│   ├── NothingGiven       neither files nor handles to learn from
│   ├── UnevenFiles        files of more accounts than there are handles
│   ├── SourceOff          a source that the operator has not switched on
│   ├── GroundMissing      nobody said why an account may be learned
│   ├── CantProve          the bio that would prove whose account it is can't be seen
│   ├── SourceError        a platform does not give an account's posts: see source_errors
│   ├── NoSuchModel
│   ├── ModelGone          what an old message was about has been deleted
│   ├── NameTaken          another model has that name
│   ├── AlreadyTraining    the same work is queued or running
│   ├── AlreadyHere        the same work is done
│   ├── StillFresh         the same accounts were learned a short while ago
│   ├── NotAllowed         a rule of the operator or the server's admins
│   ├── NotYours           another server's model, or the house's
│   ├── CantPost           Discord does not let the bot write there
│   ├── NoSuchJob
│   ├── JobIsOver          nothing left to cancel
│   ├── NotYourJob         somebody else's job
│   ├── CantRetry          a job that is not over, or has no files left
│   ├── OutOfRange         a number, a length or a name outside its limits
│   ├── DiskFull
│   ├── Unusable           a device or a base that can't do what was asked
│   ├── EngineTrouble      the engine can't answer now
│   └── Restarting         the bot takes no more work
├── SetupError             for the operator: what is wrong with the set-up and how to mend it
│   ├── ConfigError
│   ├── DataDirInUse
│   ├── TokenMissing
│   └── NewerData          the data directory was written by a newer version
├── MessageError           a line that is no message of this protocol version
├── BadModelFolder         a model folder without a valid manifest
└── ChildError             a child process did not do its part
    ├── ChildCrashed       it ended without its last message
    ├── ChildSilent        it said nothing for too long
    └── ChildMisspoke      it sent what the protocol does not allow
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path


class MockingbirdError(Exception):
    """Base of all errors raised on purpose."""


class UserError(MockingbirdError):
    """The person who asked can mend it; `str()` tells them how."""


class Unreadable(UserError):
    """A file is not what it should be."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"I can't read {name}: {reason}")
        self.name, self.reason = name, reason


class NoPosts(UserError):
    """A source holds not a single usable post."""

    def __init__(self, handle: str, *, downloaded: int = 0, retweets: int = 0, short: int = 0) -> None:
        found = f"{downloaded} posts, of which {retweets} retweets and {short} too short" if downloaded else "no posts"
        super().__init__(f"I found nothing to learn from @{handle}: {found}. Is this the right account?")
        self.handle, self.downloaded, self.retweets, self.short = handle, downloaded, retweets, short


class TooFewPosts(UserError):
    """Less text than a voice needs; the floor is huggingtweets' own."""

    def __init__(self, handles: Sequence[str], *, characters: int, needed: int) -> None:
        who = " & ".join(f"@{h}" for h in handles)
        super().__init__(
            f"{who}: only {characters:,} characters of text are left after cleaning, and a voice needs at least "
            f"{needed:,}. Add an archive with more posts."
        )
        self.who, self.characters, self.needed = who, characters, needed


class NothingGiven(UserError):
    """Neither files nor handles to learn from."""

    def __init__(self) -> None:
        super().__init__(
            "Tell me what to learn from: a handle (name.bsky.social, @name@server), an X archive (ZIP or tweets.js), "
            "or a table of posts (CSV, JSON)."
        )


class UnevenFiles(UserError):
    """There are files of more accounts than there are handles."""

    def __init__(self, *, files: int, handles: int) -> None:
        super().__init__(f"There are {files} accounts' files and {handles} handles. Name all of the accounts, or none.")
        self.files, self.handles = files, handles


class SourceOff(UserError):
    """The posts of a handle can't be had without a file: the operator has not switched the X API on."""

    def __init__(self, handle: str) -> None:
        super().__init__(
            f"I can't fetch the posts of @{handle}: the operator has not switched the X API on. Attach their X archive "
            f"(the ZIP, or its data/tweets.js) or a table of posts (CSV, JSON). Bluesky and Mastodon work by handle: "
            f"name.bsky.social, @name@server."
        )
        self.handle = handle


class GroundMissing(UserError):
    """Nobody said on what ground an account may be learned."""

    def __init__(self, who: str) -> None:
        super().__init__(
            f"Say why {who} may be imitated, with the option “ground”: your own account, a public figure, posts in the "
            f"public domain, or consent that you were given."
        )
        self.who = who


class CantProve(UserError):
    """Whose account it is can't be proved, because its bio can't be seen."""

    def __init__(self, handle: str) -> None:
        super().__init__(
            f"I can't see the bio of @{handle}, because the operator has not switched the X API on. Ask somebody who "
            f"manages the server, or the operator."
        )
        self.handle = handle


class NoSuchModel(UserError):
    """No model of that name is visible here."""

    def __init__(self, name: str | None, *, known: Sequence[str] = ()) -> None:
        what = f"There is no model called “{name}” here." if name else "There is no model here yet."
        hint = f" There are: {', '.join(known[:8])}." if known else " Train one first: /train."
        super().__init__(what + hint)
        self.name = name


class ModelGone(UserError):
    """The model that a message is about is not there any more, or not for whoever asks."""

    def __init__(self) -> None:
        super().__init__("There is no model behind that message any more. /models list shows what there is.")


class NameTaken(UserError):
    """Another model, of other accounts, has that name."""

    def __init__(self, name: str, *, handles: Sequence[str]) -> None:
        who = " & ".join(f"@{h}" for h in handles)
        super().__init__(f"“{name}” is already the name of a model of {who}. Choose another name.")
        self.name, self.who = name, who


class AlreadyTraining(UserError):
    """The same work is already queued or running."""

    def __init__(self, name: str) -> None:
        super().__init__(f"“{name}” is already being trained. /jobs list shows how far it is.")
        self.name = name


class AlreadyHere(UserError):
    """The same files, with the same settings, have made a model already."""

    def __init__(self, name: str, *, version: int) -> None:
        super().__init__(
            f"“{name}” has learned exactly these posts already (version {version}): /say model:{name}. "
            f"Training it again would give the same model; a newer archive gives a new version."
        )
        self.name, self.version = name, version


class StillFresh(UserError):
    """The same accounts were fetched and learned a short while ago."""

    def __init__(self, name: str, *, version: int, again: datetime) -> None:
        super().__init__(
            f"“{name}” has learned these accounts' posts a short while ago (version {version}): /say model:{name}. "
            f"From {again:%Y-%m-%d} on, /train fetches what is new."
        )
        self.name, self.version, self.again = name, version, again


class NotAllowed(UserError):
    """A rule of the operator or of the server's admins forbids it; `facts` fill in the rule's sentence."""

    def __init__(self, text: str, *, rule: str, facts: Mapping[str, object]) -> None:
        super().__init__(text)
        self.rule, self.facts = rule, facts


class NotYours(UserError):
    """The model belongs to somebody else; it can be used, not changed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"“{name}” comes from the operator: you can use it here, but not change it.")
        self.name = name


class CantPost(UserError):
    """Discord does not let the bot write in a channel."""

    def __init__(self, missing: str) -> None:
        super().__init__(f"I can't write in this channel. Give me {missing} here, then try again.")
        self.missing = missing


class NoSuchJob(UserError):
    """No job of that number is visible here."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"There is no job #{job_id} here. /jobs list shows them.")
        self.job_id = job_id


class JobIsOver(UserError):
    """The job has ended; there is nothing to cancel."""

    def __init__(self, job_id: int, *, state: str) -> None:
        super().__init__(f"Job #{job_id} is already over ({state}).")
        self.job_id, self.state = job_id, state


class NotYourJob(UserError):
    """Only who asked for a job can do that, or somebody who manages the server."""

    def __init__(self, job_id: int) -> None:
        super().__init__(f"Only who started job #{job_id}, or somebody who manages the server, can do that.")
        self.job_id = job_id


class CantRetry(UserError):
    """A job that is not over, or whose files are gone."""

    def __init__(self, job_id: int, *, state: str) -> None:
        super().__init__(
            f"Job #{job_id} ({state}) can't be tried again: only a failed or cancelled one can, for a few days. "
            f"Start it anew with /train."
        )
        self.job_id, self.state = job_id, state


class OutOfRange(UserError):
    """A number or a length is outside its limits."""

    def __init__(self, what: str, value: object, *, allowed: str) -> None:
        super().__init__(f"{what} can't be {value}: it has to be {allowed}.")
        self.what, self.value, self.allowed = what, value, allowed


class DiskFull(UserError):
    """Less free disk than the work needs."""

    def __init__(self, path: Path, *, free_mb: int, needed_mb: int) -> None:
        super().__init__(
            f"There is too little disk space: {free_mb:,} MB are free and {needed_mb:,} MB are needed. "
            f"The operator has to make room in {path.name}/."
        )
        self.path, self.free_mb, self.needed_mb = path, free_mb, needed_mb


class Unusable(UserError):
    """A base or a device can't do what was asked."""


class EngineTrouble(UserError):
    """The engine can't answer now."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Restarting(UserError):
    """The bot is about to stop, and takes no more work."""

    def __init__(self) -> None:
        super().__init__("I am being restarted. Try again in a minute; trainings go on by themselves.")


class SetupError(MockingbirdError):
    """The operator has to mend the set-up; `str()` tells how."""


class ConfigError(SetupError):
    """The configuration file is wrong; all that is wrong is named at once."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        lines = "\n".join(f"  {p}" for p in problems)
        super().__init__(f"{path} is not a valid configuration:\n{lines}")
        self.path, self.problems = path, tuple(problems)


class DataDirInUse(SetupError):
    """A second Mockingbird on the same data directory."""

    def __init__(self, path: Path, *, holder: str) -> None:
        super().__init__(
            f"Another Mockingbird ({holder}) is using {path}. Stop it first, or give this one a data directory of "
            f"its own ([bot] data_dir in config.toml)."
        )
        self.path, self.holder = path, holder


class TokenMissing(SetupError):
    """No Discord token in the environment."""

    def __init__(self) -> None:
        super().__init__(
            "DISCORD_TOKEN is not set. Copy the bot's token from https://discord.com/developers/applications "
            "(your application > Bot > Reset Token), then: export DISCORD_TOKEN=…  "
            "(or try it without Discord: python -m bot console)"
        )


class NewerData(SetupError):
    """The data directory was written by a newer version."""

    def __init__(self, path: Path, *, found: int, known: int) -> None:
        super().__init__(
            f"{path} was written by a newer Mockingbird (schema {found}, this one knows {known}). "
            f"Install that version again, or restore a backup made before the upgrade."
        )
        self.found, self.known = found, known


class MessageError(MockingbirdError):
    """A line is no message of this protocol version."""


class BadModelFolder(MockingbirdError):
    """A model folder has no valid manifest, or its files are not the ones that it names."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"{folder}: {reason}")
        self.folder, self.reason = folder, reason


class ChildError(MockingbirdError):
    """A child process did not do its part."""

    def __init__(self, role: str, what: str, *, stderr: str = "") -> None:
        tail = f"\n{stderr.strip()}" if stderr.strip() else ""
        super().__init__(f"{role}: {what}{tail}")
        self.role, self.what, self.stderr = role, what, stderr


class ChildCrashed(ChildError):
    """It ended without its last message."""

    def __init__(self, role: str, *, exit_code: int, stderr: str = "") -> None:
        how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
        super().__init__(role, f"{how} before it was done", stderr=stderr)
        self.exit_code = exit_code


class ChildSilent(ChildError):
    """It said nothing for too long and was killed."""

    def __init__(self, role: str, *, timeout_s: float, stderr: str = "") -> None:
        super().__init__(role, f"said nothing for {timeout_s:.0f} s and was stopped", stderr=stderr)
        self.timeout_s = timeout_s


class ChildMisspoke(ChildError):
    """It sent what the protocol does not allow."""
