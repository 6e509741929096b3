//! Requests about transactions.

use xenstore::ErrorCode;

use super::request::Request;
use super::watches::Event;
use super::{Logic, done};
use crate::store::Transaction;

impl Logic {
    pub(super) fn transaction_start(&mut self, request: &Request) -> Result<Vec<u8>, ErrorCode> {
        if request.message.transaction != 0 {
            return Err(ErrorCode::EBUSY);
        }
        let connection = self
            .connections
            .get_mut(&request.connection)
            .ok_or(ErrorCode::EINVAL)?;
        let most = connection
            .who
            .limits
            .as_ref()
            .map_or(usize::MAX, |l| l.transactions);
        if connection.transactions.len() >= most {
            return Err(ErrorCode::ENOSPC);
        }
        let id = loop {
            // 0 means none; a number that is still open is passed over.
            connection.next_transaction = connection.next_transaction.checked_add(1).unwrap_or(1);
            if !connection
                .transactions
                .contains_key(&connection.next_transaction)
            {
                break connection.next_transaction;
            }
        };
        connection
            .transactions
            .insert(id, Transaction::new(&self.tree));
        Ok(format!("{id}\0").into_bytes())
    }

    pub(super) fn transaction_end(
        &mut self,
        request: &Request,
        effects: &mut Vec<Event>,
    ) -> Result<Vec<u8>, ErrorCode> {
        let commit = match request.string()? {
            "T" => true,
            "F" => false,
            _ => return Err(ErrorCode::EINVAL),
        };
        let connection = self
            .connections
            .get_mut(&request.connection)
            .ok_or(ErrorCode::EINVAL)?;
        let id = request.message.transaction;
        let transaction = connection
            .transactions
            .remove(&id)
            .ok_or(ErrorCode::ENOENT)?;
        if commit {
            let who = connection.who.clone();
            let mut generation = self.generation;
            let changed = transaction.commit(&mut self.tree, &who, || {
                generation += 1;
                generation
            });
            self.generation = generation;
            effects.extend(changed?.into_iter().map(Event::Node));
        }
        Ok(done())
    }

    /// Notes in the request's transaction, if it has one, what it looks at.
    pub(super) fn note(
        &mut self,
        request: &Request,
        note: impl FnOnce(&mut Transaction),
    ) -> Result<(), ErrorCode> {
        if request.message.transaction != 0 {
            note(self.transaction_of(request)?);
        }
        Ok(())
    }

    /// The transaction that the request names, if it may grow.
    pub(super) fn transaction_of(
        &mut self,
        request: &Request,
    ) -> Result<&mut Transaction, ErrorCode> {
        let connection = self
            .connections
            .get_mut(&request.connection)
            .ok_or(ErrorCode::EINVAL)?;
        let most = connection
            .who
            .limits
            .as_ref()
            .map_or(usize::MAX, |l| l.transaction_size);
        let transaction = connection
            .transactions
            .get_mut(&request.message.transaction)
            .ok_or(ErrorCode::ENOENT)?;
        if transaction.size() >= most {
            Err(ErrorCode::ENOSPC)
        } else {
            Ok(transaction)
        }
    }
}
