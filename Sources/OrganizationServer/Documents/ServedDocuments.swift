import RegistryAccess
import Hummingbird
import NIOCore
import SignedPolicy
import Synchronization

/// The documents that machines ask for again and again, in memory: a poll of what has not changed asks no database.
final class ServedDocuments: Sendable {
    /// Bytes and the name of their state.
    struct Document: Sendable {
        let bytes: ByteBuffer
        let etag: String

        init(_ bytes: [UInt8]) {
            self.bytes = ByteBuffer(bytes: bytes)
            etag = "\"\(Hexadecimal.sha256(bytes).prefix(32))\""
        }
    }

    /// What an organization serves now, all of one moment.
    struct Newest: Sendable {
        /// The newest root document, read.
        let rootDocument: RootDocument
        /// From version 1 on.
        let roots: [Document]
        let policyVersion: Int
        let policy: Document
        let sequence: Int
        let freshness: Document
        /// The newest documents as members of a JSON object, for machines that wait for a change: `root`, the number of root
        /// documents, and the envelopes `freshness` and, up to ``longestPolicyOfNews``, `policy` as texts.
        let news: String
    }

    /// The longest policy, in bytes of its envelope, that machines are told of a change with; a longer one they fetch, since
    /// thousands of answers may be under way at once.
    static let longestPolicyOfNews = 16 << 10

    private struct Held {
        var newest: [String: Newest] = [:]
        /// What is asked for again and again, by its path.
        var prepared: [String: PreparedDocument] = [:]
        var policies: [String: PolicyDocument] = [:]
        /// Counts what was forgotten, so that nothing older is kept that was read meanwhile.
        var forgotten: UInt64 = 0
    }

    private let store: Store
    private let held = Mutex(Held())

    /// Nothing yet.
    ///
    /// - Parameter store: where documents come from.
    init(store: Store) {
        self.store = store
    }

    /// What an organization serves now.
    ///
    /// - Parameter organization: whose.
    /// - Returns: the documents; `nil` if there is no such organization, or it has none yet.
    /// - Throws: what SQLite says.
    func newest(of organization: String) async throws -> Newest? {
        let (found, forgotten) = held.withLock { ($0.newest[organization], $0.forgotten) }
        if let found { return found }
        guard Names.isName(organization), let read = try await store.newestDocuments(of: organization),
            let root = read.roots.last
        else { return nil }
        let newest = Newest(
            rootDocument: try RootDocument(payload: Envelope(json: root, as: .root).payload),
            roots: read.roots.map(Document.init),
            policyVersion: read.policyVersion,
            policy: Document(read.policy),
            sequence: read.sequence,
            freshness: Document(read.freshness),
            news: Self.news(roots: read.roots.count, freshness: read.freshness, policy: read.policy)
        )
        let prepared = PreparedDocument.all(of: organization, newest)
        held.withLock { held in
            guard held.forgotten == forgotten else { return }
            held.newest[organization] = newest
            held.prepared.merge(prepared) { _, new in new }
        }
        return newest
    }

    private static func news(roots: Int, freshness: [UInt8], policy: [UInt8]) -> String {
        func text(_ envelope: [UInt8]) -> String { JSONValue.string(String(decoding: envelope, as: UTF8.self)).text() }
        let news = "\"root\":\(roots),\"freshness\":\(text(freshness))"
        return policy.count <= longestPolicyOfNews ? "\(news),\"policy\":\(text(policy))" : news
    }

    /// What machines ask for again and again, ready to be sent, if it is in memory.
    ///
    /// - Parameter path: the path, as a client writes it.
    /// - Returns: the answers.
    func prepared(_ path: String) -> PreparedDocument? { held.withLock { $0.prepared[path] } }

    /// The newest policy, read.
    ///
    /// - Parameter organization: whose.
    /// - Returns: the policy; `nil` if there is none.
    /// - Throws: what SQLite says.
    func policy(of organization: String) async throws -> PolicyDocument? {
        let (found, forgotten) = held.withLock { ($0.policies[organization], $0.forgotten) }
        if let found { return found }
        guard let newest = try await newest(of: organization) else { return nil }
        let envelope = try Envelope(json: Array(newest.policy.bytes.readableBytesView), as: .policy)
        let policy = try PolicyDocument(payload: envelope.payload)
        held.withLock { if $0.forgotten == forgotten { $0.policies[organization] = policy } }
        return policy
    }

    /// Drops what an organization serves, for there is something newer.
    ///
    /// - Parameter organization: whose.
    func forget(_ organization: String) {
        held.withLock { held in
            held.newest[organization] = nil
            held.prepared = held.prepared.filter { !$0.key.hasPrefix(PreparedDocument.prefix(of: organization)) }
            held.policies[organization] = nil
            held.forgotten += 1
        }
    }

    /// The organizations whose documents here are not those of the database.
    ///
    /// - Parameter sequences: the numbers of the freshness documents in the database.
    /// - Returns: the names of the organizations.
    func outdated(by sequences: [String: Int]) -> [String] {
        held.withLock { held in held.newest.filter { sequences[$0.key] != $0.value.sequence }.map(\.key).sorted() }
    }
}
