import HTTPTypes
import Hummingbird
import RegistryAccess
import SignedPolicy

extension Router<ServerContext> {
    /// What machines fetch, for everybody: it is signed, and says nothing that a machine of the organization may not know.
    func addDocumentRoutes(_ services: Services) {
        let documents = group("v1/organizations/:organization/documents")
        documents.get("root.json") { request, context in
            guard let root = try await newest(services, context).roots.last else { throw Problem.noDocument }
            return root.answer(request)
        }
        documents.get("policy.json") { request, context in
            try await newest(services, context).policy.answer(request)
        }
        documents.get("freshness.json") { request, context in
            try await newest(services, context).freshness.answer(request)
        }
        documents.get("root/:version") { request, context in
            let newest = try await newest(services, context)
            let version = try version(context)
            guard newest.roots.indices.contains(version - 1) else { throw Problem.noDocument }
            return newest.roots[version - 1].answer(request, isVersion: true)
        }
        documents.get("policy/:version") { request, context in
            let newest = try await newest(services, context)
            let version = try version(context)
            if version == newest.policyVersion { return newest.policy.answer(request, isVersion: true) }
            let organization = try context.parameters.require("organization")
            guard let policy = try await services.store.policyEnvelope(version, of: organization) else {
                throw Problem.noDocument
            }
            return ServedDocuments.Document(policy).answer(request, isVersion: true)
        }
    }
}

extension Problem {
    static var noDocument: Problem { Problem(.notFound, .notFound, "there is no such document") }
}

private func newest(_ services: Services, _ context: ServerContext) async throws -> ServedDocuments.Newest {
    let organization = try context.parameters.require("organization")
    guard let newest = try await services.publisher.served.newest(of: organization) else { throw Problem.noDocument }
    return newest
}

/// The number in `N.json`.
private func version(_ context: ServerContext) throws -> Int {
    let name = try context.parameters.require("version")
    guard name.utf8.count <= 21, name.hasSuffix(".json"), let version = WholeNumber.read(name.dropLast(5)) else {
        throw Problem.noDocument
    }
    return version
}

extension ServedDocuments.Document {
    /// The document, or only that the asker has it.
    fileprivate func answer(_ request: Request, isVersion: Bool = false) -> Response {
        answer(ifNoneMatch: request.headers[.ifNoneMatch], isVersion: isVersion)
    }

    /// The document, or only that the asker has it.
    ///
    /// - Parameters:
    ///   - tags: what the asker has.
    ///   - isVersion: whether it was asked for by its number.
    ///   - headers: what the answer has besides.
    /// - Returns: the answer.
    func answer(ifNoneMatch tags: String?, isVersion: Bool, _ headers: HTTPFields = [:]) -> Response {
        var headers = headers
        headers[.eTag] = etag
        // A version never changes; what has no number is asked for each time, and costs nothing if it is the same.
        headers[.cacheControl] = isVersion ? "public, max-age=31536000, immutable" : "no-cache"
        if EntityTag.matches(tags, etag) {
            return Response(status: .notModified, headers: headers)
        }
        headers[.contentType] = "application/json"
        headers[.contentLength] = "\(bytes.readableBytes)"
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: bytes))
    }
}
