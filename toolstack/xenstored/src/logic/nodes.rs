//! Requests that read and change nodes.

use std::sync::Arc;

use xenstore::wire::PAYLOAD_MAX;
use xenstore::{ErrorCode, Path, Permission, Permissions};

use super::request::{Request, number, path_of};
use super::watches::Event;
use super::who::Who;
use super::{Logic, done};
use crate::store::{Change, Node, Tree};

/// What right a request needs.
#[derive(Clone, Copy)]
enum Need {
    Read,
    Write,
}

impl Logic {
    pub(super) fn read(&mut self, request: &Request) -> Result<Vec<u8>, ErrorCode> {
        let path = self.path(request, request.string()?)?;
        self.note(request, |t| t.see(&path))?;
        Ok(self.readable(request, &path)?.value.to_vec())
    }

    pub(super) fn directory(&mut self, request: &Request) -> Result<Vec<u8>, ErrorCode> {
        let path = self.path(request, request.string()?)?;
        self.note(request, |t| t.see_children(&path))?;
        Ok(children(self.readable(request, &path)?))
    }

    pub(super) fn directory_part(&mut self, request: &Request) -> Result<Vec<u8>, ErrorCode> {
        let (path, offset) = request.two_strings()?;
        let offset: usize = number(offset)?;
        let path = self.path(request, path)?;
        self.note(request, |t| t.see_children(&path))?;
        let node = self.readable(request, &path)?;
        let mut payload = format!("{}\0", node.children_generation).into_bytes();
        let all = children(node);
        let rest = all.get(offset..).unwrap_or_default();
        // Whole names only, and room for the empty string that marks the end.
        let room = PAYLOAD_MAX - payload.len() - 1;
        let whole = if rest.len() <= room {
            rest.len()
        } else {
            rest.get(..room)
                .and_then(|r| r.iter().rposition(|&b| b == 0))
                .map_or(0, |at| at + 1)
        };
        payload.extend_from_slice(rest.get(..whole).unwrap_or_default());
        if whole == rest.len() {
            payload.push(0);
        }
        Ok(payload)
    }

    pub(super) fn get_permissions(&mut self, request: &Request) -> Result<Vec<u8>, ErrorCode> {
        let text = request.string()?;
        if let Some(permissions) = self.special(request, text)? {
            return Ok(permission_list(&permissions));
        }
        let path = self.path(request, text)?;
        self.note(request, |t| t.see(&path))?;
        Ok(permission_list(&self.readable(request, &path)?.permissions))
    }

    pub(super) fn write(
        &mut self,
        request: &Request,
        effects: &mut Vec<Event>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let (path, value) = request.string_and_rest()?;
        let path = self.path(request, path)?;
        if self
            .who(request)?
            .limits
            .as_ref()
            .is_some_and(|l| value.len() > l.value)
        {
            return Err(ErrorCode::ENOSPC);
        }
        self.check(request, &path, Need::Write, Missing::Allowed)?;
        self.change(request, Change::Write(path, Arc::from(value)), effects)
    }

    pub(super) fn make_directory(
        &mut self,
        request: &Request,
        effects: &mut Vec<Event>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let path = self.path(request, request.string()?)?;
        self.check(request, &path, Need::Write, Missing::Allowed)?;
        self.change(request, Change::MakeDirectory(path), effects)
    }

    pub(super) fn remove(
        &mut self,
        request: &Request,
        effects: &mut Vec<Event>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let path = self.path(request, request.string()?)?;
        if path.is_root() {
            return Err(ErrorCode::EINVAL);
        }
        self.check(request, &path, Need::Write, Missing::Allowed)?;
        self.change(request, Change::Remove(path), effects)
    }

    pub(super) fn set_permissions(
        &mut self,
        request: &Request,
        effects: &mut Vec<Event>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let strings = request.strings(2, usize::MAX)?;
        let (text, entries) = strings.split_first().ok_or(ErrorCode::EINVAL)?;
        let entries: Result<Vec<Permission>, _> = entries.iter().map(|e| e.parse()).collect();
        let entries = entries.map_err(|_| ErrorCode::EINVAL)?;
        let permissions = Permissions::from_entries(&entries).ok_or(ErrorCode::EINVAL)?;
        if self.special(request, text)?.is_some() {
            return self.set_special(request, text, permissions);
        }
        let path = self.path(request, text)?;
        self.check(request, &path, Need::Write, Missing::Refused)?;
        let who = self.who(request)?.clone();
        let old = &self
            .view(request)?
            .get(&path)
            .ok_or(ErrorCode::ENOENT)?
            .permissions;
        if !who.owns(old) {
            return Err(ErrorCode::EACCES);
        }
        if let Some(limits) = &who.limits {
            if permissions.owner.domain != old.owner.domain {
                return Err(ErrorCode::EPERM);
            }
            if entries.len() > limits.permissions {
                return Err(ErrorCode::ENOSPC);
            }
        }
        self.change(request, Change::SetPermissions(path, permissions), effects)
    }

    /// Makes a change, in the transaction that the request names or right away.
    fn change(
        &mut self,
        request: &Request,
        change: Change,
        effects: &mut Vec<Event>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let generation = self.next_generation();
        let who = self.who(request)?.clone();
        if request.message.transaction == 0 {
            let effect = change.apply(&mut self.tree, &who, generation)?;
            effects.push(Event::Node(effect));
            return Ok(done());
        }
        let transaction = self.transaction_of(request)?;
        transaction.change(change, &who, generation)?;
        Ok(done())
    }

    /// The node, if it may be read.
    fn readable(&self, request: &Request, path: &Path) -> Result<&Node, ErrorCode> {
        self.check(request, path, Need::Read, Missing::Refused)?;
        self.view(request)?.get(path).ok_or(ErrorCode::ENOENT)
    }

    /// Checks the right to a node; where it is missing, that to the nearest node above it. Whoever has no right there
    /// does not learn that it is missing.
    fn check(
        &self,
        request: &Request,
        path: &Path,
        need: Need,
        missing: Missing,
    ) -> Result<(), ErrorCode> {
        let who = self.who(request)?;
        let (node, depth) = self.view(request)?.nearest(path);
        let access = who.access(&node.permissions);
        let allowed = match need {
            Need::Read => access.reads(),
            Need::Write => access.writes(),
        };
        if !allowed {
            return Err(ErrorCode::EACCES);
        }
        let exists = depth == path.components().count();
        if exists || matches!(missing, Missing::Allowed) {
            Ok(())
        } else {
            Err(ErrorCode::ENOENT)
        }
    }

    /// The tree as the request sees it.
    fn view(&self, request: &Request) -> Result<&Tree, ErrorCode> {
        let connection = self
            .connections
            .get(&request.connection)
            .ok_or(ErrorCode::EINVAL)?;
        match request.message.transaction {
            0 => Ok(&self.tree),
            id => Ok(&connection
                .transactions
                .get(&id)
                .ok_or(ErrorCode::ENOENT)?
                .tree),
        }
    }

    pub(super) fn who(&self, request: &Request) -> Result<&Who, ErrorCode> {
        self.connections
            .get(&request.connection)
            .map(|c| &c.who)
            .ok_or(ErrorCode::EINVAL)
    }

    /// A path as this client gives it.
    fn path(&self, request: &Request, text: &str) -> Result<Path, ErrorCode> {
        path_of(self.who(request)?.domain, text)
    }

    /// The permissions of a special path, where `text` is one.
    fn special(&self, request: &Request, text: &str) -> Result<Option<Permissions>, ErrorCode> {
        let Some(permissions) = self.specials.get(text) else {
            return Ok(None);
        };
        if self.who(request)?.access(permissions).reads() {
            Ok(Some(permissions.clone()))
        } else {
            Err(ErrorCode::EACCES)
        }
    }

    fn set_special(
        &mut self,
        request: &Request,
        text: &str,
        permissions: Permissions,
    ) -> Result<Vec<u8>, ErrorCode> {
        if !self.who(request)?.is_privileged() {
            return Err(ErrorCode::EACCES);
        }
        if request.message.transaction != 0 {
            return Err(ErrorCode::EINVAL);
        }
        if let Some(place) = self.specials.get_mut(text) {
            *place = permissions;
        }
        Ok(done())
    }
}

/// Whether a request makes sense for a node that is missing.
#[derive(Clone, Copy)]
enum Missing {
    Allowed,
    Refused,
}

fn children(node: &Node) -> Vec<u8> {
    let mut names = Vec::new();
    for name in node.children.keys() {
        names.extend_from_slice(name.as_bytes());
        names.push(0);
    }
    names
}

fn permission_list(permissions: &Permissions) -> Vec<u8> {
    permissions
        .entries()
        .flat_map(|entry| format!("{entry}\0").into_bytes())
        .collect()
}
