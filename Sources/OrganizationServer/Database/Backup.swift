import RegistryAccess
import Foundation
import GRDB
import Glibc
import SignedPolicy

/// Copies of the database.
enum Backup {
    /// Copies the database of a server while it runs.
    ///
    /// - Parameters:
    ///   - data: the server's directory.
    ///   - file: where the copy comes to; there must be none.
    /// - Throws: ``DataDirectory/Fault``, or what SQLite says.
    static func make(of data: DataDirectory, to file: String) throws {
        guard !FileManager.default.fileExists(atPath: file) else {
            throw DataDirectory.Fault(description: "there is already a file \"\(file)\"; give another name")
        }
        var reading = Configuration()
        reading.readonly = true
        reading.busyMode = .timeout(5)
        do {
            try copy(DatabaseQueue(path: data.database, configuration: reading), to: file)
        } catch let error as DatabaseError {
            guard let fault = StorageFault(error) else { throw error }
            guard fault != .full else {
                throw DataDirectory.Fault(description: "there is no space left for \"\(file)\"; make space")
            }
            throw DataDirectory.Fault(description: fault.description(of: data))
        }
    }

    /// Puts a copy in the place of the database of a server that does not run.
    ///
    /// Everybody has to sign in again: the copy may hold sessions that were ended after it was made.
    ///
    /// - Parameters:
    ///   - file: the copy.
    ///   - data: the server's directory.
    ///   - now: the time.
    /// - Returns: where the database that was there is now; `nil` if there was none.
    /// - Throws: ``DataDirectory/Fault`` if it is no sound copy, or what SQLite says; nothing is changed then.
    static func restore(_ file: String, in data: DataDirectory, at now: Instant) throws -> String? {
        guard FileManager.default.fileExists(atPath: file) else {
            throw DataDirectory.Fault(description: "there is no file \"\(file)\"")
        }
        try data.takeLock()
        let beside = "\(data.database).restored"
        try? FileManager.default.removeItem(atPath: beside)
        defer { for end in ["", "-wal", "-shm", "-journal"] { unlink(beside + end) } }
        var reading = Configuration()
        reading.readonly = true
        do {
            let source = try DatabaseQueue(path: file, configuration: reading)
            try check(source, file)
            try copy(source, to: beside)
        } catch let error as DatabaseError {
            throw DataDirectory.Fault(description: "\"\(file)\" is no sound copy: \(error.message ?? "not a database")")
        }
        // The pool is gone, and its log with it, before the file moves.
        let restored = try DatabaseQueue(path: beside)
        try Schema.migrator.migrate(restored)
        try restored.write { database in
            try database.execute(sql: "UPDATE session SET ended = ? WHERE ended IS NULL", arguments: [now.seconds])
            try database.execute(sql: "DELETE FROM deviceAuthorization")
            // One that was used since would be good once more.
            try database.execute(sql: "DELETE FROM passwordReset")
        }
        try restored.close()
        let kept = "\(data.database).before-restore"
        let wasThere = FileManager.default.fileExists(atPath: data.database)
        if wasThere {
            for end in ["-wal", "-shm"] {
                unlink(kept + end)
                rename(data.database + end, kept + end)
            }
            try DataDirectory.move(data.database, to: kept)
        }
        try DataDirectory.move(beside, to: data.database)
        return wasThere ? kept : nil
    }

    private static func copy(_ source: DatabaseQueue, to file: String) throws {
        let beside = "\(file).partial"
        unlink(beside)
        let descriptor = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw DataDirectory.Fault(description: "cannot write \"\(beside)\"") }
        close(descriptor)
        defer { for end in ["", "-wal", "-shm", "-journal"] { unlink(beside + end) } }
        let target = try DatabaseQueue(path: beside)
        try source.backup(to: target)
        try target.writeWithoutTransaction { database in
            // The copy is one file, not one with a log beside it.
            try database.execute(sql: "PRAGMA journal_mode = DELETE")
        }
        try target.close()
        let copied = open(beside, O_RDONLY | O_CLOEXEC)
        if copied >= 0 {
            fsync(copied)
            close(copied)
        }
        try DataDirectory.move(beside, to: file)
    }

    private static func check(_ copy: DatabaseQueue, _ file: String) throws {
        let isNewer = try copy.read { try Schema.migrator.hasBeenSuperseded($0) }
        guard !isNewer else {
            throw DataDirectory.Fault(description: "\"\(file)\" is of a newer docker-ram-server; install that first")
        }
        let fault = try copy.read { database -> String? in
            let answer = try String.fetchOne(database, sql: "PRAGMA integrity_check(1)")
            guard answer == "ok" else { return answer ?? "no answer" }
            guard try Row.fetchOne(database, sql: "PRAGMA foreign_key_check") == nil else {
                return "a reference is broken"
            }
            guard try database.tableExists("organization"),
                try Int.fetchOne(database, sql: "SELECT count(*) FROM organization") ?? 0 > 0
            else { return "it holds no organization" }
            return nil
        }
        if let fault { throw DataDirectory.Fault(description: "\"\(file)\" is no sound copy: \(fault)") }
    }
}
