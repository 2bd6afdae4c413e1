import RegistryAccess

/// Why an organization's provider signs nobody in: what is wrong with the provider, with what it says, or with who asks.
enum SingleSignOnFault: Error, Hashable, Sendable, CustomStringConvertible {
    // MARK: The exchange with the provider
    case unreachable(String)
    case tooSlow(Duration)
    case tooLong(limit: Int)
    case redirect
    case status(UInt)
    case malformed(String)

    // MARK: What it says of itself
    case otherIssuer(String)
    case missingEndpoint(String)
    case unsafeEndpoint(String)
    case withoutS256
    case withoutCodeFlow
    case withoutAlgorithm
    case withoutClientSecret

    // MARK: The way through the browser
    case notSet(organization: String)
    case unknownState
    case otherBrowser
    case answerOfAnother
    case denied
    case refused(String)
    case codeRefused(String)

    // MARK: The ID token
    case noToken
    case faultyToken(String)
    case algorithm(String)
    case unknownKey
    case keyOfAnotherKind
    case signature
    case issuer
    case audience
    case authorizedParty
    case nonce
    case expired
    case notYetValid
    case issued
    case accessTokenHash

    // MARK: Who may come in
    case emailUnverified
    case emailOfAnotherDomain
    case emailTaken(String)
    case otherPerson(String)
    case notAgain

    /// Whether the provider is at fault, and not who asks.
    var isOfProvider: Bool {
        switch self {
        case .unreachable, .tooSlow, .tooLong, .redirect, .status, .malformed, .otherIssuer, .missingEndpoint,
            .unsafeEndpoint, .withoutS256, .withoutCodeFlow, .withoutAlgorithm, .withoutClientSecret:
            true
        default: false
        }
    }

    /// What is wrong, lower-case; no secret.
    var description: String {
        switch self {
        case .unreachable(let words): "the provider cannot be reached: \(words)"
        case .tooSlow(let time): "the provider took longer than \(time.components.seconds) seconds"
        case .tooLong(let limit): "the provider sent more than \(limit) bytes"
        case .redirect: "the provider sends elsewhere, and nobody follows"
        case .status(let status): "the provider answered with status \(status)"
        case .malformed(let words): "the provider's answer cannot be understood: \(words)"
        case .otherIssuer(let issuer):
            "the provider calls itself \(JSONScanner.quoted(String(issuer.prefix(200)))), which is not the issuer that is set"
        case .missingEndpoint(let name): "the provider does not say \"\(name)\""
        case .unsafeEndpoint(let name):
            "what the provider says as \"\(name)\" is no address that starts with \"https://\""
        case .withoutS256: "the provider does not do PKCE with \"S256\""
        case .withoutCodeFlow: "the provider does not do the authorization code flow (response type \"code\")"
        case .withoutAlgorithm: "the provider signs ID tokens with none of RS256, PS256, ES256 and EdDSA"
        case .withoutClientSecret: "the provider takes neither \"client_secret_basic\" nor \"client_secret_post\""
        case .notSet(let organization):
            "there is no single sign-on for \(JSONScanner.quoted(organization)); use your name and password"
        case .unknownState: "this sign-in is over: it was used, or it is older than ten minutes"
        case .otherBrowser: "this sign-in was begun in another browser, or this one does not accept cookies"
        case .answerOfAnother: "this answer comes from another provider than the one that was asked"
        case .denied: "the sign-in was denied at the provider"
        case .refused(let code): "the provider refused: \(JSONScanner.quoted(code))"
        case .codeRefused(let code): "the provider does not take the code that it gave: \(JSONScanner.quoted(code))"
        case .noToken: "the provider sent no ID token"
        case .faultyToken(let words): "the provider's ID token is not in order: \(words)"
        case .algorithm(let name): "the ID token is signed with \(JSONScanner.quoted(name)), which is not accepted"
        case .unknownKey: "the ID token is signed with a key that is not among the provider's"
        case .keyOfAnotherKind: "the ID token is signed with a key that is not for its algorithm"
        case .signature: "the signature of the ID token is wrong"
        case .issuer: "the ID token comes from another issuer"
        case .audience: "the ID token is for another client"
        case .authorizedParty: "the ID token was issued to another client"
        case .nonce: "the ID token belongs to another sign-in"
        case .expired: "the ID token is not good any more"
        case .notYetValid: "the ID token is not good yet; compare the clocks of provider and server"
        case .issued: "the ID token was not issued now; compare the clocks of provider and server"
        case .accessTokenHash: "the ID token does not belong to the access token"
        case .emailUnverified: "the provider does not say that your e-mail address is verified"
        case .emailOfAnotherDomain: "your e-mail address is in none of the organization's domains"
        case .emailTaken(let user):
            "your e-mail address is that of \(JSONScanner.quoted(user)), who signs in as somebody else at the provider; "
                + "ask an owner to unlink them"
        case .otherPerson(let user):
            "this is not the sign-in of \(JSONScanner.quoted(user)) at the provider; nothing was done"
        case .notAgain:
            "the provider does not say that you have just shown who you are (\"auth_time\"); if you have a password here, "
                + "sign out and sign in with it"
        }
    }
}
