import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// A document that machines ask for again and again, as the bytes of its answers.
struct PreparedDocument: Sendable {
    /// The pattern of its route.
    let route: String
    /// By what a machine that has it names it; `nil`: it is not there.
    let etag: String?
    /// The beginning of the answer with the document, up to where the fields come that all answers have.
    let head: String
    /// The beginning of the answer to who has it.
    let unchangedHead: String
    let body: ByteBuffer
    let status: Int

    private init(_ document: ServedDocuments.Document, route: String, isVersion: Bool) {
        self.route = route
        etag = document.etag
        body = document.bytes
        (status, head) = (200, Self.beginning(of: document.answer(ifNoneMatch: nil, isVersion: isVersion)))
        unchangedHead = Self.beginning(of: document.answer(ifNoneMatch: document.etag, isVersion: isVersion))
    }

    /// What is asked for and is not there.
    private init(missing route: String) {
        self.route = route
        etag = nil
        var (response, body) = Problem.noDocument.answer
        response.headers[.cacheControl] = "no-store"
        self.body = body
        (status, head) = (404, Self.beginning(of: response))
        unchangedHead = head
    }

    private static func beginning(of response: Response) -> String {
        let fields = response.headers.map { "\($0.name.rawName): \($0.value)\r\n" }.joined()
        return "HTTP/1.1 \(response.status.code) \(response.status.reasonPhrase)\r\n\(fields)"
    }

    /// With what the paths of an organization's documents begin.
    static func prefix(of organization: String) -> String { "/v1/organizations/\(organization)/documents/" }

    /// What of an organization is asked for again and again.
    ///
    /// - Parameters:
    ///   - organization: whose.
    ///   - newest: what it serves.
    /// - Returns: the answers by their paths.
    static func all(of organization: String, _ newest: ServedDocuments.Newest) -> [String: PreparedDocument] {
        let route = "/v1/organizations/{organization}/documents"
        let documents = [
            "freshness.json": PreparedDocument(
                newest.freshness,
                route: "\(route)/freshness.json",
                isVersion: false
            ),
            "policy.json": PreparedDocument(newest.policy, route: "\(route)/policy.json", isVersion: false),
            "policy/\(newest.policyVersion).json": PreparedDocument(
                newest.policy,
                route: "\(route)/policy/{version}",
                isVersion: true
            ),
            // What every machine asks first: whether there is another root document.
            "root/\(newest.roots.count + 1).json": PreparedDocument(missing: "\(route)/root/{version}"),
        ]
        let pairs = documents.map { (prefix(of: organization) + $0.key, $0.value) }
        return Dictionary(uniqueKeysWithValues: pairs)
    }
}
