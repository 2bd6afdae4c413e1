import AsyncHTTPClient
import NIOHTTP1
public import SignedPolicy

extension OrganizationClient {
    /// One of the documents of the organization, by its place below their address.
    public enum DocumentName: Hashable, Sendable {
        /// A root document; `nil` for the newest.
        case root(Int?)
        /// A version of the policy.
        case policy(Int)
        /// The newest freshness document.
        case freshness

        /// The kind of document.
        public var kind: DocumentKind {
            switch self {
            case .root: .root
            case .policy: .policy
            case .freshness: .freshness
            }
        }

        var path: String {
            switch self {
            case .root(let version): version.map { "root/\($0).json" } ?? "root.json"
            case .policy(let version): "policy/\(version).json"
            case .freshness: "freshness.json"
            }
        }
    }

    /// An envelope as it came.
    public struct FetchedDocument: Sendable {
        /// The envelope.
        public let bytes: [UInt8]
        /// By what the server knows whether it is still the same.
        public let tag: String?
    }

    /// Fetches a document.
    ///
    /// - Parameters:
    ///   - name: which.
    ///   - tag: what ``FetchedDocument/tag`` was the last time; the same document is then not sent again.
    /// - Returns: the envelope, which nobody has looked at yet; `nil` if it is the same as the last time.
    /// - Throws: ``ServerFault``: ``ServerFault/notFound`` if there is no such document.
    public func fetch(_ name: DocumentName, unless tag: String? = nil) async throws(ServerFault) -> FetchedDocument? {
        var request = HTTPClientRequest(url: "\(documents)/\(name.path)")
        request.headers.add(name: "Accept", value: "application/json")
        if let tag { request.headers.add(name: "If-None-Match", value: tag) }
        let time = name.kind == .policy ? limits.policy : limits.exchange
        let answer: Answer
        do throws(ServerFault) {
            answer = try await exchange(request, by: toDocuments, atMost: name.kind.longest, within: time)
        } catch {
            // Some servers explain it.
            if case .refused(404, _) = error { throw .notFound }
            throw error
        }
        if answer.status == 304, tag != nil { return nil }
        guard answer.status == 200 else { throw .status(answer.status) }
        return FetchedDocument(bytes: answer.body, tag: answer.tag)
    }
}
