import HTTPTypes
import TestSupport
import Testing

@testable import OrganizationServer

struct PasswordRuleTests {
    private static let words = ["acme", "ram.acme.test"]

    @Test(arguments: [
        ("short", "12 to 256 bytes"), ("elevenbytes", "12 to 256 bytes"), ("aabbaabbaabb", "5 different"),
        ("tab\tin the secret", "control"), ("my name is alice", "name of its owner"),
        ("ALICE in the wood", "name of its owner"), ("my Password is this", "the word itself"),
        ("docker makes me happy", "\"docker\""), ("I love DOCKER so much", "\"docker\""),
        ("the people at Acme are nice", "\"acme\""),
        ("abcdefabcdef", "again and again"), ("horse horse horse ", "again and again"),
        ("xk3bmxk3bmxk3", "again and again"),
        ("abcdefghijklmnop", "keyboard"), ("12345678901234", "keyboard"), ("0987654321qwerty", "keyboard"),
        ("qwertyuiopasdf", "keyboard"), ("1qaz2wsx3edc4rfv", "keyboard"), ("aaaabbbbccccddddeeee", "keyboard"),
        ("QwErTy123456", "keyboard"), ("!@#$%^&*()qwer", "keyboard"), ("zyxwvutsrqponm", "keyboard"),
        ("needforspeed", "commonest"), ("finalfantasy", "commonest"), ("Sunshine2024!", "commonest"),
        ("!!!sunshine!2024", "commonest"), ("dragon77889922", "commonest"),
    ])
    func `what many take or everybody would try is refused, and the rule is named`(password: String, rule: String) {
        let weakness = Password(password).weakness(for: "alice", near: Self.words)
        #expect(weakness?.contains(rule) == true, "\(weakness ?? "taken")")
    }

    @Test(arguments: [
        "correct horse battery", "only for this demo", "Tr0ub4dor&3 and more", "caf\u{E9} und Kuchen am See",
        "kd83-qpw1-zzt0-fm47", "we eat fish on 1234 days", "sunshine over the old mill",
    ])
    func `what is long and of one's own is taken`(password: String) {
        #expect(Password(password).weakness(for: "alice", near: Self.words) == nil)
    }

    @Test(arguments: [
        ("https://ram.acme.test", ["ram.acme.test", "acme"]),
        (
            "https://docker-policy.corp.acme.test:8443",
            ["docker-policy.corp.acme.test", "docker-policy", "corp", "acme"]
        ), ("http://127.0.0.1:8443", ["127.0.0.1"]),
        ("http://[::1]:8443", ["::1"]),
    ])
    func `what is in the server's address is what everybody would try`(address: String, words: [String]) throws {
        let settings = ServerSettings(publicAddress: try #require(PublicAddress(address)))
        #expect(settings.wordsNearPasswords == words)
    }

    @Test
    func `the server says which rule refused a new password`() async throws {
        try await AccountsServer.with { server in
            try await server.make()
            let alice = try await server.signIn("alice")
            for (password, rule) in [("acme forever and ever", "acme"), ("sunshine20242025", "commonest")] {
                let answer = try await server.send(
                    .put,
                    "/v1/me/password",
                    as: alice,
                    body: "{\"current\":\"\(AccountsServer.password)\",\"new\":\"\(password)\"}"
                )
                #expect(answer.status == 400)
                #expect(answer["detail"]?.contains(rule) == true, "\(answer)")
                #expect(!answer.text.contains(password))
            }
            let invitation = try await server.send(
                .post,
                "/v1/organizations/acme/invitations",
                as: alice,
                body: #"{"role":"member"}"#
            )
            let secret = try #require(invitation["invitation"])
            let body = "{\"invitation\":\"\(secret)\",\"name\":\"bob\",\"password\":\"we all love acme so much\"}"
            let joined = try await server.send(.post, "/v1/invitations/accept", body: body)
            #expect(joined.status == 400)
            #expect(joined["detail"]?.contains("\"acme\"") == true, "\(joined)")
        }
    }
}
