//! What commands do to an account: one file a command. A handler writes untagged data through
//! `response/` and says how it ended; the tagged line is the session's.

mod ahead;
mod append;
mod copy;
mod create;
mod delete;
mod expunge;
mod fetch;
mod list;
mod rename;
mod search;
mod select;
mod status;
mod store;
mod subscribe;
mod sync;
#[cfg(test)]
mod tests;
mod urlauth;
mod walk;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use account::{Account, MailboxName};
use base::{Out, Secret, Timestamp};

pub use urlauth::{UrlBytes, UrlError, UrlProof, url_bytes, url_size};

use crate::around::Around;
use crate::capability::Enabled;
use crate::command::{self, Append, Create, List, ResetKey, Rump, Select, Status};
use crate::limits::Limits;
use crate::names;
use crate::parse::SequenceSet;
use crate::reply::{Failure, Success};
use crate::view::Selected;

/// A command that the session has judged to be legal now.
#[derive(Clone, Debug)]
pub enum Action {
    /// Tell what is new: NOOP, CHECK and IDLE.
    Sync,
    /// ENABLE of something that has to be told of the selected mailbox.
    Enable(Enabled),
    /// SELECT and EXAMINE
    Select(Select),
    /// CREATE
    Create(Create),
    /// DELETE
    Delete(Vec<u8>),
    /// RENAME
    Rename {
        /// The name it has.
        from: Vec<u8>,
        /// The name it gets.
        to: Vec<u8>,
    },
    /// SUBSCRIBE
    Subscribe(Vec<u8>),
    /// UNSUBSCRIBE
    Unsubscribe(Vec<u8>),
    /// LIST and LSUB
    List(List),
    /// STATUS
    Status(Status),
    /// APPEND
    Append(Append),
    /// CLOSE of a mailbox that may be changed: its deleted messages go, and nobody is told.
    Close,
    /// EXPUNGE and UID EXPUNGE
    Expunge(Option<SequenceSet>),
    /// FETCH and UID FETCH
    Fetch(command::fetch::Fetch),
    /// SEARCH and UID SEARCH
    Search(command::search::Search),
    /// STORE and UID STORE
    Store(command::store::Store),
    /// COPY and UID COPY
    Copy(command::copy::Copy),
    /// MOVE and UID MOVE
    Move(command::copy::Copy),
    /// RESETKEY
    ResetKey(ResetKey),
    /// GENURLAUTH
    GenUrlAuth(Vec<Rump>),
    /// URLFETCH
    UrlFetch(Vec<Secret<Vec<u8>>>),
}

/// A command with what it needs of the session. The view goes along and comes back in [`Done`].
#[derive(Clone, Debug)]
pub struct Act {
    /// What to do.
    pub action: Action,
    /// The command's tag: ESEARCH repeats it (RFC 9051 §7.3.4).
    pub tag: String,
    /// The selected mailbox, if there is one.
    pub selected: Option<Box<Selected>>,
    /// What the client has enabled, by this command too.
    pub enabled: Enabled,
    /// Whether it is this command that enabled CONDSTORE.
    pub is_condstore_new: bool,
    /// The session's bounds.
    pub limits: Limits,
}

/// What a command came to.
#[derive(Clone, Debug)]
pub struct Done {
    /// The command's tag, back again.
    pub tag: String,
    /// The selected mailbox from here on.
    pub selected: Option<Box<Selected>>,
    /// For the tagged line.
    pub outcome: Result<Success, Failure>,
    /// Another session has deleted the selected mailbox: the connection ends (RFC 2180 §3.3).
    pub is_deleted: bool,
}

/// What the session is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To [`crate::Request::Auth`].
    Auth(auth::Answer),
    /// To [`crate::Request::Open`].
    Opened(Result<(), account::Error>),
    /// To [`crate::Request::Act`].
    Done(Box<Done>),
    /// To any request: the account is gone or switched off, the connection ends.
    Closed,
}

/// What a handler works with, beside the view.
pub(crate) struct Context<'a, 'o> {
    pub(crate) account: &'a Account,
    pub(crate) tag: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) around: &'a dyn Around,
    pub(crate) enabled: Enabled,
    pub(crate) limits: Limits,
    pub(crate) out: &'a mut Out<'o>,
}

impl Context<'_, '_> {
    /// A mailbox name as the client spells it.
    pub(crate) fn name(&self, raw: &[u8]) -> Result<MailboxName, Failure> {
        names::decode(raw, self.enabled.has_utf8())
    }
}

/// Runs one command on the shard that owns the account. Untagged data goes to `out`, in pieces when
/// it is much.
pub async fn handle(
    act: Box<Act>,
    account: &Account,
    now: Timestamp,
    around: &dyn Around,
    out: &mut Out<'_>,
) -> Reply {
    let Act { action, tag, mut selected, enabled, is_condstore_new, limits } = *act;
    let telling = telling(&action);
    let enabled = if is_by_uid(&action) { enabled.with(Enabled::BY_UID) } else { enabled };
    let mut context = Context { account, tag: &tag, now, around, enabled, limits, out };
    if let (Some(view), true) = (selected.as_deref(), is_condstore_new) {
        select::tell_highest_change(view, &action, &mut context);
    }
    let mut outcome = run(action, &mut selected, &mut context).await;
    // No EXPUNGE then: the client must not take its messages for removed one by one (RFC 2180 §3).
    // A deletion is a change, so without one there is nothing to look for.
    let is_gone = |view: &Selected| {
        account.highest_change() > view.seen_change
            && account.status(view.mailbox) == Err(account::Error::NotFound)
    };
    let is_deleted = selected.take_if(|view| is_gone(view)).is_some();
    if let (Some(view), false) = (selected.as_deref_mut(), outcome == Err(Failure::Closed))
        && let Err(failure) = sync::sync(view, telling, &mut context).await
    {
        outcome = Err(failure);
    }
    Reply::Done(Box::new(Done { tag, selected, outcome, is_deleted }))
}

/// RFC 9051 §7.5.1: no EXPUNGE while a command that uses sequence numbers is under way, for the
/// client may already have sent the next one.
fn telling(action: &Action) -> sync::Telling {
    match action {
        Action::Fetch(_) | Action::Search(_) | Action::Store(_) if !is_by_uid(action) => {
            sync::Telling::NoExpunges
        }
        _ => sync::Telling::Everything,
    }
}

/// Whether it is one of the UID commands (RFC 9051 §6.4.9).
const fn is_by_uid(action: &Action) -> bool {
    match action {
        Action::Fetch(fetch) => fetch.is_uid,
        Action::Search(search) => search.is_uid,
        Action::Store(store) => store.is_uid,
        Action::Copy(copy) | Action::Move(copy) => copy.is_uid,
        Action::Expunge(set) => set.is_some(),
        _ => false,
    }
}

async fn run(
    action: Action,
    selected: &mut Option<Box<Selected>>,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    match action {
        Action::Sync => Ok(Success::plain("up to date")),
        Action::Enable(_) => Ok(Success::plain("enabled")),
        Action::Select(request) => select::select(request, selected, context).await,
        Action::Create(request) => create::create(request, context).await,
        Action::Delete(name) => delete::delete(&name, selected, context).await,
        Action::Rename { from, to } => rename::rename(&from, &to, context).await,
        Action::Subscribe(name) => subscribe::subscribe(&name, true, context).await,
        Action::Unsubscribe(name) => subscribe::subscribe(&name, false, context).await,
        Action::List(request) => list::list(request, context).await,
        Action::Status(request) => status::status(&request, context),
        Action::Append(request) => append::append(request, context).await,
        Action::ResetKey(request) => urlauth::reset_key(request, context).await,
        Action::GenUrlAuth(rumps) => urlauth::gen_url_auth(rumps, context).await,
        Action::UrlFetch(urls) => urlauth::url_fetch(urls, context).await,
        action => run_selected(action, selected, context).await,
    }
}

async fn run_selected(
    action: Action,
    selected: &mut Option<Box<Selected>>,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    let Some(view) = selected.as_deref_mut() else { return Err(Failure::Bad("no mailbox is selected")) };
    match action {
        Action::Close => {
            let outcome = expunge::close(view, context).await;
            *selected = None;
            outcome
        }
        Action::Expunge(set) => expunge::expunge(set.as_ref(), view, context).await,
        Action::Fetch(request) => fetch::fetch(request, view, context).await,
        Action::Search(request) => search::search(request, view, context).await,
        Action::Store(request) => store::store(request, view, context).await,
        Action::Copy(request) => copy::copy(request, view, context).await,
        Action::Move(request) => copy::move_messages(request, view, context).await,
        _ => Err(Failure::Bad("that is not a command for a selected mailbox")),
    }
}
