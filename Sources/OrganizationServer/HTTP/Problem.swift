import HTTPTypes
import Hummingbird
import NIOCore
import RegistryAccess

/// A refusal of the server as problem JSON (RFC 9457), with a code that programs can go by.
struct Problem: Error, HTTPResponseError {
    /// What programs go by; never renamed.
    enum Code: String, Sendable, CaseIterable {
        case badRequest = "bad_request"
        case notSignedIn = "not_signed_in"
        case deviceUnknown = "device_unknown"
        case forbidden
        case notFound = "not_found"
        case tooManyRequests = "too_many_requests"
        case conflict
        case tooLarge = "too_large"
        case wrongMediaType = "wrong_media_type"
        case busy
        case internalFault = "internal_fault"
        case faulty
        case preconditionRequired = "precondition_required"
        case changedMeanwhile = "changed_meanwhile"
        case locksOut = "locks_out"
        case enrollmentRefused = "enrollment_refused"
        case providerFault = "provider_fault"
        case storageFull = "storage_full"
        case storageFault = "storage_fault"
    }

    /// Nobody in particular asks for what only some may have.
    static var notSignedIn: Problem {
        var problem = Problem(
            .unauthorized,
            .notSignedIn,
            "this needs a token that is good now",
            hint: "sign in, or make an access token"
        )
        problem.headers[.wwwAuthenticate] = "Bearer"
        return problem
    }

    /// A form that no page of ours sends so.
    static var faultyForm: Problem { Problem(.badRequest, .badRequest, "the form is not in order") }

    let status: HTTPResponse.Status
    let code: Code
    /// What happened, lower-case, with what it is about in quotes; no secret.
    let detail: String
    /// What to do.
    var hint: String?
    /// More header fields.
    var headers = HTTPFields()
    /// More members of the document, with names that none of the others has.
    var members: [JSONMember] = []

    init(_ status: HTTPResponse.Status, _ code: Code, _ detail: String, hint: String? = nil) {
        self.status = status
        self.code = code
        self.detail = detail
        self.hint = hint
    }

    func response(from request: Request, context: some RequestContext) throws -> Response { answer.response }

    /// The refusal as it is sent, and its document.
    var answer: (response: Response, body: ByteBuffer) {
        let document = JSONValue.object(
            [
                JSONMember("type", .string("about:blank")),
                JSONMember("title", .string(status.reasonPhrase)),
                JSONMember("status", .number("\(status.code)")),
                JSONMember("code", .string(code.rawValue)),
                JSONMember("detail", .string(detail)),
            ] + (hint.map { [JSONMember("hint", .string($0))] } ?? []) + members
        )
        let body = ByteBuffer(string: document.text() + "\n")
        var fields = headers
        fields[.contentType] = "application/problem+json"
        fields[.contentLength] = String(body.readableBytes)
        return (Response(status: status, headers: fields, body: ResponseBody(byteBuffer: body)), body)
    }
}
