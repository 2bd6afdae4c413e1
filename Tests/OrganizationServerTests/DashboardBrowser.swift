import HTTPTypes
import Hummingbird
import SignedPolicy
import Testing

@testable import OrganizationServer

/// A browser that is signed in on the dashboard.
struct TestBrowser: Sendable {
    let server: AccountsServer
    /// What it is known by.
    let token: String

    init(_ server: AccountsServer, _ token: String) {
        self.server = server
        self.token = token
    }

    var formToken: String { OpaqueToken(token).map(BrowserSession.formToken) ?? "" }

    var cookie: String { "__Host-ram_session=\(token)" }

    func get(_ path: String) async throws -> Answer {
        try await server.send(.get, path, headers: [.cookie: cookie])
    }

    /// Sends a form as a page of ours does.
    func post(_ path: String, _ fields: [String: String] = [:], origin: String? = AccountsServer.publicURL) async throws
        -> Answer
    {
        var headers: HTTPFields = [.cookie: cookie]
        headers[.origin] = origin
        return try await server.form(path, fields.merging(["form": formToken]) { given, _ in given }, headers: headers)
    }
}

extension AccountsServer {
    /// What a browser is known by in which somebody has signed in.
    func signInBrowser(_ name: String) async throws -> String {
        try await services.store.beginBrowserSession(of: name, after: nil, from: "192.0.2.1", at: clock.now).secret
    }

    func browser(_ name: String) async throws -> TestBrowser { TestBrowser(self, try await signInBrowser(name)) }
}

extension Answer {
    /// The value that a cookie is set to.
    func cookie(_ name: String) -> String? {
        headers[values: .setCookie].compactMap { line -> String? in
            guard line.hasPrefix("\(name)=") else { return nil }
            return String(line.dropFirst(name.count + 1).prefix { $0 != ";" })
        }.last
    }

    /// The value of a hidden field of the page.
    func hidden(_ name: String) -> String? {
        let mark = "name=\"\(name)\" value=\""
        guard let start = text.firstRange(of: mark)?.upperBound else { return nil }
        return String(text[start...].prefix { $0 != "\"" })
    }
}
