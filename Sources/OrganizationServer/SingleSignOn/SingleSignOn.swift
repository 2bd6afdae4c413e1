import Crypto
import GRDB
import RegistryAccess
import SignedPolicy

/// Sign-in at an organization's own provider: the authorization code flow of OpenID Connect with PKCE (RFC 7636).
///
/// Who signs in is known by the provider's issuer and subject, never by an e-mail address, and is signed in to the one
/// organization whose provider it is: what that provider says is nothing to others.
struct SingleSignOn: Sendable {
    let services: Services

    /// What somebody signs in for.
    ///
    /// What another one takes beyond its case and its text is what ``SingleSignOnPages`` does at the end of it.
    enum Purpose: Hashable, Sendable {
        /// To decide about a machine.
        case activation(userCode: String)
        /// To be known, and to see that it works.
        case joining
        /// To use the dashboard; then this page of it.
        case dashboard(to: String)
        /// To show again who is signed in with a browser; then this page.
        case confirmation(session: String, to: String)

        /// As the database keeps it.
        var text: String {
            switch self {
            case .activation(let userCode): "activation \(userCode)"
            case .joining: "joining"
            case .dashboard(let page): "dashboard \(page)"
            case .confirmation(let session, let page): "confirmation \(session) \(page)"
            }
        }

        /// Reads what the database keeps.
        init?(_ text: String) {
            let words = text.split(separator: " ").map(String.init)
            switch (words.first, words.count) {
            case ("activation", 2): self = .activation(userCode: words[1])
            case ("joining", 1): self = .joining
            case ("dashboard", 2): self = .dashboard(to: words[1])
            case ("confirmation", 3): self = .confirmation(session: words[1], to: words[2])
            default: return nil
            }
        }
    }

    /// Somebody who has signed in.
    struct SignedIn: Hashable, Sendable {
        let user: String
        /// The one organization that this sign-in is good for; they were a member a moment ago.
        let organization: String
        let purpose: Purpose
        /// When they last showed who they are, as far as that is known.
        var authenticated: Instant?
    }

    /// Somebody whom the provider knows and we do not, or not as a member.
    struct Stranger: Hashable, Sendable {
        let organization: String
        let purpose: Purpose
        let email: String?
        /// Who they are known as here; they are no member any more.
        let user: String?
    }

    /// How a sign-in at the provider ends.
    enum Outcome: Sendable {
        case signedIn(SignedIn)
        /// They have to say who they are; the token is what their browser shows with it.
        case stranger(Stranger, confirmation: OpaqueToken)
    }

    /// What the provider has sent the browser back with.
    struct Answer: Sendable {
        var state: String?
        var code: String?
        var error: String?
        var issuer: String?
    }

    /// How long a sign-in may take, and the question behind it, in seconds.
    static let lifetimeSeconds: Int64 = 600

    /// Where providers send browsers back to.
    ///
    /// - Parameter server: where browsers reach the server.
    /// - Returns: the address, which the provider has to know.
    static func redirectAddress(at server: PublicAddress) -> String { "\(server)/single-sign-on/callback" }

    // MARK: - The beginning

    /// Begins a sign-in.
    ///
    /// - Parameters:
    ///   - purpose: what for.
    ///   - organization: where; it need not be there.
    ///   - browser: what the browser is known by, which it shows when it comes back.
    /// - Returns: where the browser has to go.
    /// - Throws: ``SingleSignOnFault``, or what SQLite says.
    func begin(_ purpose: Purpose, in organization: String, for browser: OpaqueToken) async throws -> ProviderAddress {
        guard let settings = try await services.store.singleSignOn(of: organization) else {
            throw SingleSignOnFault.notSet(organization: organization)
        }
        let provider = try await services.providers.provider(settings.issuer)
        let (state, nonce, verifier) = (OpaqueToken(.form), OpaqueToken(.form), OpaqueToken(.form))
        let begun = Store.BegunSignIn(
            organization: organization,
            purpose: purpose,
            nonce: nonce.secret,
            verifier: verifier.secret,
            time: services.now()
        )
        try await services.store.begin(begun, state: state, for: browser, at: services.now())
        let challenge = Base64URL.encode(Array(SHA256.hash(data: Array(verifier.secret.utf8))))
        var fields = [
            ("response_type", "code"), ("client_id", settings.clientID),
            ("redirect_uri", Self.redirectAddress(at: services.settings.publicAddress)),
            ("scope", settings.scopes.joined(separator: " ")), ("state", state.secret), ("nonce", nonce.secret),
            ("code_challenge", challenge), ("code_challenge_method", "S256"),
        ]
        if case .confirmation = purpose {
            // A session that they have there is not enough (OpenID Connect Core 1.0, section 3.1.2.1).
            fields += [("prompt", "login"), ("max_age", "0")]
        }
        let query = PercentEncoding.form(fields)
        let separator = provider.authorization.description.contains("?") ? "&" : "?"
        guard
            let address = ProviderAddress(
                "\(provider.authorization)\(separator)\(query)",
                mayHaveQuery: true
            )
        else { throw SingleSignOnFault.unsafeEndpoint("authorization_endpoint") }
        return address
    }

    // MARK: - The end

    /// Ends a sign-in: checks what the provider has sent the browser back with, and finds out who that is.
    ///
    /// - Parameters:
    ///   - answer: what it was sent back with.
    ///   - browser: what the browser shows.
    /// - Returns: how it ends.
    /// - Throws: ``SingleSignOnFault``, or what SQLite says.
    func finish(_ answer: Answer, for browser: OpaqueToken?) async throws -> Outcome {
        guard let state = answer.state.flatMap({ OpaqueToken($0) }) else { throw SingleSignOnFault.unknownState }
        let begun = try await services.store.take(state, for: browser, at: services.now())
        guard let settings = try await services.store.singleSignOn(of: begun.organization), let browser else {
            throw SingleSignOnFault.unknownState
        }
        let provider = try await services.providers.provider(settings.issuer)
        // Before anything else of the answer is believed (RFC 9207, section 2.4).
        guard answer.issuer.map({ $0.utf8.elementsEqual(provider.issuer.utf8) }) ?? !provider.namesItself else {
            throw SingleSignOnFault.answerOfAnother
        }
        if let error = answer.error {
            throw error == "access_denied" ? SingleSignOnFault.denied : .refused(String(error.prefix(80)))
        }
        guard let code = answer.code else { throw SingleSignOnFault.refused("no code") }
        let token = try await exchange(code, begun, settings, provider)
        if case .confirmation = begun.purpose {
            guard let authenticated = token.authenticated, authenticated > begun.time + -IDToken.leeway else {
                throw SingleSignOnFault.notAgain
            }
        }
        return try await services.store.outcome(of: token, begun, settings, for: browser, at: services.now())
    }

    private func exchange(
        _ code: String,
        _ begun: Store.BegunSignIn,
        _ settings: SingleSignOnSettings,
        _ provider: Provider
    ) async throws(SingleSignOnFault) -> IDToken {
        var fields = [
            ("grant_type", "authorization_code"), ("code", code),
            ("redirect_uri", Self.redirectAddress(at: services.settings.publicAddress)),
            ("code_verifier", begun.verifier),
        ]
        var authorization: String?
        if provider.authenticatesInHeader {
            // Both are escaped as in a form first (RFC 6749, section 2.3.1).
            let pair =
                PercentEncoding.encode(settings.clientID) + ":" + PercentEncoding.encode(settings.clientSecret.text)
            authorization = "Basic " + StrictBase64.encode(Array(pair.utf8))
        } else {
            fields += [("client_id", settings.clientID), ("client_secret", settings.clientSecret.text)]
        }
        let answer = try await services.providers.connection.send(
            fields,
            to: provider.token.description,
            authorization: authorization
        )
        guard answer.status == 200 else {
            let error = try? ProviderDocument.object(answer.body).value(named: "error")?.text
            throw error.map { .codeRefused(String($0.prefix(80))) } ?? .status(answer.status)
        }
        let document = try ProviderDocument.object(answer.body)
        guard let text = document.value(named: "id_token")?.text else { throw .noToken }
        let providers = services.providers
        return try await IDToken(
            text,
            for: IDToken.Expectation(
                issuer: provider.issuer,
                clientID: settings.clientID,
                nonce: begun.nonce,
                accessToken: document.value(named: "access_token")?.text,
                now: services.now()
            )
        ) { (id) async throws(SingleSignOnFault) in
            try await providers.key(id, of: provider)
        }
    }

    // MARK: - Who a stranger is

    /// What a stranger says.
    struct Introduction: Sendable {
        /// By which they join.
        var invitation: OpaqueToken?
        /// Who they are here already, which they have shown with their password.
        var user: String?
    }
}
