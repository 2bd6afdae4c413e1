import HTTPTypes
import Hummingbird
import RegistryAccess

/// A refusal of `/v1/token` and its neighbours, as OAuth 2.0 words it (RFC 6749, section 5.2; RFC 8628, section 3.5).
struct GrantRefusal: Error, HTTPResponseError {
    /// What programs go by; never renamed.
    enum Code: String, Sendable, CaseIterable {
        case invalidRequest = "invalid_request"
        case unsupportedGrantType = "unsupported_grant_type"
        case invalidGrant = "invalid_grant"
        case authorizationPending = "authorization_pending"
        case slowDown = "slow_down"
        case expiredToken = "expired_token"
        case accessDenied = "access_denied"
        case notAMember = "not_a_member"
        /// The device has to register again.
        case deviceUnknown = "device_unknown"
    }

    let code: Code
    /// What happened, lower-case; no secret.
    let detail: String

    init(_ code: Code, _ detail: String) {
        self.code = code
        self.detail = detail
    }

    /// Who has shown a device secret that is none has not said who they are; everything else is a bad request.
    var status: HTTPResponse.Status { code == .deviceUnknown ? .unauthorized : .badRequest }

    func response(from request: Request, context: some RequestContext) -> Response {
        let value = JSONValue.object([
            JSONMember("error", .string(code.rawValue)), JSONMember("error_description", .string(detail)),
        ])
        return JSONAnswer(value: value, status: status).response(from: request, context: context)
    }
}
