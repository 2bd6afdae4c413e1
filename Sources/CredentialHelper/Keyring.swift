import CLibSecret
import Glibc

/// The Secret Service of the session, holding credentials as docker-credential-secretservice lays them out, so that
/// each finds what the other has saved.
///
/// An item has the schema `io.docker.Credentials` and the attributes `label`, `server`, `username` and `docker_cli`;
/// its label is the server URL, which is what the other helper's `list` takes for the key. Items whose `label` is
/// another (other programs use the schema too) are not touched.
///
/// Source: docker-credential-helpers, `secretservice/secretservice.c`.
final class Keyring {
    /// How long the keyring may take to answer, in milliseconds.
    static let answerTime: CInt = 5000
    /// How long a person may take who is asked for a password, in milliseconds.
    static let promptTime: CInt = 120_000

    private static let schema = "io.docker.Credentials"
    private static let label = "Docker Credentials"

    private let library: LibSecret
    private let cancellable: OpaquePointer
    private let deadline: Deadline
    private let service: OpaquePointer
    private let canPrompt: Bool

    /// Finds the Secret Service.
    ///
    /// - Parameter canPrompt: whether a window that asks for a password could be seen.
    /// - Throws: ``KeyringFault``.
    init(canPrompt: Bool) throws(KeyringFault) {
        library = try LibSecret()
        self.canPrompt = canPrompt
        guard let cancellable = library.newCancellable() else { throw Self.noAnswerWhileStarting }
        self.cancellable = cancellable
        guard
            let deadline = Deadline(
                milliseconds: Self.answerTime,
                cancellable: cancellable,
                cancel: library.cancel,
                lastWords: Array("\(Self.noAnswerWhileStarting.answer)\n".utf8)
            )
        else { throw KeyringFault(.other, String(cString: strerror(errno))) }
        self.deadline = deadline
        let library = library
        let found = try Self.checked(library, cancellable, isStarting: true) { error in
            library.service(SECRET_SERVICE_NONE, cancellable, error)
        }
        guard let found else { throw Self.noAnswerWhileStarting }
        service = found
    }

    // MARK: - What a helper does

    /// The credentials that are kept for a server.
    ///
    /// The very same server URL comes first; then one that is the same key (``ServerKey``). Among several the one that
    /// changed last is taken, an unlocked one before a locked one.
    ///
    /// - Parameter server: the server URL.
    /// - Returns: the credentials under the server URL that was asked for, or `nil` if there are none.
    /// - Throws: ``KeyringFault``.
    func credentials(for server: String) throws(KeyringFault) -> Credentials? {
        var items = try search(["server": server])
        if !items.isEmpty, items.allSatisfy(\.isLocked) {
            try unlock(items.map(\.handle))
            items = try search(["server": server])
        }
        if items.isEmpty, let key = ServerKey(server) {
            items = try search([:]).filter { !$0.isLocked && ServerKey($0.server) == key }
        }
        guard let item = Self.newest(items) else { return nil }
        let secret = try secret(of: item)
        // As upstream: an empty secret is none.
        guard !secret.bytes.isEmpty else { return nil }
        return Credentials(serverURL: server, username: item.username, secret: secret)
    }

    /// Keeps credentials; of the items that had the same server URL only this one is left.
    ///
    /// - Parameter credentials: what to keep.
    /// - Throws: ``KeyringFault``; older items are then still there.
    func store(_ credentials: Credentials) throws(KeyringFault) {
        try openDefaultCollection()
        try write(credentials)
        for item in try search(["server": credentials.serverURL]) where item.username != credentials.username {
            if item.isLocked { try unlock([item.handle]) }
            try delete(item)
        }
    }

    /// Removes what is kept for a server, under every spelling of it.
    ///
    /// - Parameter server: the server URL.
    /// - Throws: ``KeyringFault`` if something is still there afterwards.
    func erase(_ server: String) throws(KeyringFault) {
        var items = try items(toErase: server)
        let locked = items.filter(\.isLocked)
        if !locked.isEmpty {
            try unlock(locked.map(\.handle))
            items = try self.items(toErase: server)
        }
        for item in items { try delete(item) }
        let left = try self.items(toErase: server)
        guard left.isEmpty else { throw KeyringFault(.other, "the keyring still holds what was to be erased") }
    }

    /// Whose credentials are kept for which server.
    ///
    /// - Returns: servers and users, the ones that changed last first.
    /// - Throws: ``KeyringFault`` if everything is locked.
    func list() throws(KeyringFault) -> [(server: String, username: String)] {
        var items = try search([:])
        let locked = items.filter(\.isLocked)
        if !locked.isEmpty {
            try unlock(locked.map(\.handle))
            items = try search([:])
        }
        let readable = items.filter { !$0.isLocked }
        guard items.isEmpty || !readable.isEmpty else { throw KeyringFault(.locked, "the keyring is locked") }
        return readable.sorted { $0.modified > $1.modified }.map { ($0.server, $0.username) }
    }

    // MARK: - Items

    /// One item of the keyring.
    private final class Item {
        let handle: OpaquePointer
        let schema: String
        let server: String
        let username: String
        let modified: UInt64
        let isLocked: Bool
        private let library: LibSecret

        /// Takes over a reference to the item.
        init(_ handle: OpaquePointer, _ library: LibSecret) {
            self.handle = handle
            self.library = library
            let attributes = library.attributes(handle)
            // A locked item shows only hashes of its attributes.
            schema = Self.text(library, attributes, "xdg:schema")
            server = Self.text(library, attributes, "server")
            username = Self.text(library, attributes, "username")
            library.unrefTable(attributes)
            modified = UInt64(library.modified(handle))
            isLocked = library.isItemLocked(handle) != 0
        }

        deinit {
            library.unref(UnsafeMutableRawPointer(handle))
        }

        private static func text(_ library: LibSecret, _ attributes: OpaquePointer?, _ name: String) -> String {
            guard let attributes, let value = library.lookup(attributes, name) else { return "" }
            return String(cString: value.assumingMemoryBound(to: CChar.self))
        }
    }

    private static func newest(_ items: [Item]) -> Item? {
        let unlocked = items.filter { !$0.isLocked }
        // Times are whole seconds; of two equal ones the later found is taken, as upstream does.
        return (unlocked.isEmpty ? items : unlocked).reduce(nil as Item?) { newest, item in
            guard let newest, newest.modified > item.modified else { return item }
            return newest
        }
    }

    /// Finds items.
    ///
    /// One that another helper erases between being found and being looked at means to look again.
    private func search(_ attributes: [String: String]) throws(KeyringFault) -> [Item] {
        for _ in 0..<20 {
            do throws(KeyringFault) {
                return try searchOnce(attributes)
            } catch  where error.isAbsent {
                continue
            }
        }
        return try searchOnce(attributes)
    }

    private func searchOnce(_ attributes: [String: String]) throws(KeyringFault) -> [Item] {
        // Not by schema: gnome-keyring does not find a locked item by its schema, only by its other attributes.
        let table = table(attributes)
        defer { library.unrefTable(table) }
        let list = try checked { error in
            library.search(service, nil, table, SECRET_SEARCH_ALL, cancellable, error)
        }
        defer { library.freeList(list) }
        return (0..<library.length(list)).compactMap { index in
            library.element(list, index).map { Item(OpaquePointer($0), library) }
        }.filter { $0.isLocked || $0.schema == Self.schema }
    }

    private func items(toErase server: String) throws(KeyringFault) -> [Item] {
        var items = try search(["server": server])
        guard let key = ServerKey(server) else { return items }
        items += try search([:]).filter { !$0.isLocked && $0.server != server && ServerKey($0.server) == key }
        // What is locked cannot be compared, but it can be asked for by its exact name.
        for spelling in key.spellings where spelling != server {
            items += try search(["server": spelling]).filter(\.isLocked)
        }
        return items
    }

    /// Reads a secret, in a session without encryption where the provider has one.
    ///
    /// What libsecret does by itself, agreeing on a key for each call, takes longer than everything else together. The
    /// key would protect from nobody: the bus is a local socket of this person, and whoever may listen on it may ask
    /// the provider himself.
    private func secret(of item: Item) throws(KeyringFault) -> Secret {
        if let session = plainSession() {
            defer { library.unrefVariant(session) }
            var session: OpaquePointer? = session
            let answer = try checked { error in
                library.call(
                    item.handle,
                    "GetSecret",
                    library.newTuple(&session, 1),
                    G_DBUS_CALL_FLAGS_NONE,
                    -1,
                    cancellable,
                    error
                )
            }
            defer { if let answer { library.unrefVariant(answer) } }
            if let answer, isOfType(answer, "((oayays))") { return secret(in: answer) }
        }
        let isLoaded = try checked { error in library.loadSecret(item.handle, cancellable, error) }
        guard isLoaded != 0, let value = library.secret(item.handle) else { return Secret([]) }
        defer { library.unrefValue(UnsafeMutableRawPointer(value)) }
        var length: gsize = 0
        guard let start = library.value(value, &length) else { return Secret([]) }
        return Secret(Array(UnsafeRawBufferPointer(start: start, count: Int(length))))
    }

    /// The third part of session, parameters, secret and content type.
    private func secret(in answer: OpaquePointer) -> Secret {
        guard let parts = library.child(answer, 0) else { return Secret([]) }
        defer { library.unrefVariant(parts) }
        guard let bytes = library.child(parts, 2) else { return Secret([]) }
        defer { library.unrefVariant(bytes) }
        var count: gsize = 0
        guard let start = library.fixedArray(bytes, &count, 1) else { return Secret([]) }
        return Secret(Array(UnsafeRawBufferPointer(start: start, count: Int(count))))
    }

    /// The path of a session without encryption; `nil` if the provider gives none.
    private func plainSession() -> OpaquePointer? {
        let parameters = [library.newString("plain"), library.newVariant(library.newString(""))]
        let answer = try? checked { error in
            library.call(
                service,
                "OpenSession",
                library.newTuple(parameters, 2),
                G_DBUS_CALL_FLAGS_NONE,
                -1,
                cancellable,
                error
            )
        }
        guard let answer = answer ?? nil else { return nil }
        defer { library.unrefVariant(answer) }
        return isOfType(answer, "(vo)") ? library.child(answer, 1) : nil
    }

    private func isOfType(_ variant: OpaquePointer, _ type: String) -> Bool {
        library.typeString(variant).map { String(cString: $0) == type } ?? false
    }

    private func write(_ credentials: Credentials) throws(KeyringFault) {
        let bytes = credentials.secret.bytes.map { CChar(bitPattern: $0) }
        guard let value = library.newValue(bytes, gssize(bytes.count), "text/plain") else {
            throw KeyringFault(.other, "libsecret does not take the secret")
        }
        defer { library.unrefValue(UnsafeMutableRawPointer(value)) }
        let table = table([
            "xdg:schema": Self.schema, "server": credentials.serverURL, "username": credentials.username,
        ])
        defer { library.unrefTable(table) }
        let isStored = try checked { error in
            library.store(service, nil, table, "default", credentials.serverURL, value, cancellable, error)
        }
        guard isStored != 0 else { throw KeyringFault(.locked, "Cannot create an item in a locked collection") }
    }

    private func delete(_ item: Item) throws(KeyringFault) {
        do throws(KeyringFault) {
            _ = try checked { error in library.delete(item.handle, cancellable, error) }
        } catch  where error.isAbsent {
            // Another helper was faster.
        }
    }

    // MARK: - Unlocking

    /// Unlocks the default collection, or has one made if somebody can be asked for its password.
    private func openDefaultCollection() throws(KeyringFault) {
        let collection = try checked { error in
            library.collection(service, "default", SECRET_COLLECTION_NONE, cancellable, error)
        }
        guard let collection else {
            // Storing asks for a new keyring's password, if it can.
            if canPrompt { deadline.restart(milliseconds: Self.promptTime) }
            return
        }
        if library.isCollectionLocked(collection) != 0 { try unlock([collection]) }
        library.unref(UnsafeMutableRawPointer(collection))
    }

    /// Unlocks what can be unlocked; what stays locked shows in the call that needs it open.
    private func unlock(_ objects: [OpaquePointer]) throws(KeyringFault) {
        var list: OpaquePointer?
        for object in objects { list = library.append(list, UnsafeMutableRawPointer(object)) }
        defer { library.freeList(list) }
        if canPrompt { deadline.restart(milliseconds: Self.promptTime) }
        _ = try checked { error in library.unlock(service, list, cancellable, nil, error) }
        deadline.restart(milliseconds: Self.answerTime)
    }

    // MARK: - Calling the library

    /// A table of the attributes that all our items have, and of some more.
    private func table(_ attributes: [String: String]) -> OpaquePointer? {
        let table = library.newTable(library.hashText, library.equalTexts, { Glibc.free($0) }, { Glibc.free($0) })
        let common = ["label": Self.label, "docker_cli": "1"]
        for (name, value) in common.merging(attributes, uniquingKeysWith: { $1 }) {
            _ = library.insert(table, strdup(name), strdup(value))
        }
        return table
    }

    private typealias ErrorPlace = UnsafeMutablePointer<UnsafeMutablePointer<GError>?>

    private func checked<Result>(_ call: (ErrorPlace) -> Result) throws(KeyringFault) -> Result {
        try Self.checked(library, cancellable, isStarting: false, call)
    }

    private static func checked<Result>(
        _ library: LibSecret,
        _ cancellable: OpaquePointer,
        isStarting: Bool,
        _ call: (ErrorPlace) -> Result
    ) throws(KeyringFault) -> Result {
        var error: UnsafeMutablePointer<GError>?
        let result = call(&error)
        guard let error else { return result }
        defer { library.free(error) }
        if library.isCancelled(cancellable) != 0 {
            throw isStarting ? noAnswerWhileStarting : KeyringFault(.noAnswer, "Timeout was reached")
        }
        var name: String?
        if let remote = library.remoteError(error) {
            name = String(cString: remote)
            library.freeMemory(remote)
        }
        _ = library.stripRemoteError(error)
        let text = error.pointee.message.map { String(cString: $0) } ?? "unknown error"
        throw KeyringFault(remoteError: name, text, isStarting: isStarting)
    }

    // GDBus waits 25 seconds for a provider to start and then says this.
    private static let noAnswerWhileStarting = KeyringFault(
        .noAnswer,
        "Error calling StartServiceByName for org.freedesktop.secrets: Timeout was reached"
    )
}
