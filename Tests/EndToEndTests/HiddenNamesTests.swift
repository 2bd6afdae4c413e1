import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// Requests that hide what they want, written byte by byte to a real engine.
    @Suite(.serialized)
    struct HiddenNamesTests {
        @Test("no way of writing a request gets a refused image past the plugin")
        func smuggling() async throws {
            try await PrivateDocker.with { docker in
                let bad = docker.refused.address
                let badName = "\(bad)%2Facme%2Fhello"
                let goodName = "\(docker.allowed.address)%2Facme%2Fhello"
                let form = "application/x-www-form-urlencoded"
                let formBody = "fromImage=\(badName)&tag=1"

                // (what, request line's target, headers, body)
                let requests: [(String, String, [String], String)] = [
                    ("a plain pull", "/v1.41/images/create?fromImage=\(badName)&tag=1", ["Content-Length: 0"], ""),
                    ("without a version", "/images/create?fromImage=\(badName)&tag=1", ["Content-Length: 0"], ""),
                    (
                        "a form instead of the query", "/v1.41/images/create",
                        ["Content-Type: \(form)", "Content-Length: \(formBody.utf8.count)"], formBody
                    ),
                    (
                        "a form against the query", "/v1.41/images/create?fromImage=\(goodName)&tag=1",
                        ["Content-Type: \(form)", "Content-Length: \(formBody.utf8.count)"], formBody
                    ),
                    (
                        "a form hidden by a second content type", "/v1.41/images/create?fromImage=\(goodName)&tag=1",
                        ["Content-Type: \(form)", "Content-Type: application/json", "Transfer-Encoding: chunked"],
                        "\(String(formBody.utf8.count, radix: 16))\r\n\(formBody)\r\n0\r\n\r\n"
                    ),
                    (
                        "a form of unknown length", "/v1.41/images/create?fromImage=\(goodName)&tag=1",
                        ["Content-Type: \(form)", "Transfer-Encoding: chunked"],
                        "\(String(formBody.utf8.count, radix: 16))\r\n\(formBody)\r\n0\r\n\r\n"
                    ),
                    (
                        "a content type in other letters", "/v1.41/images/create?fromImage=\(goodName)&tag=1",
                        ["cOnTeNt-TyPe: Application/X-WWW-Form-URLEncoded", "Content-Length: \(formBody.utf8.count)"],
                        formBody
                    ),
                    (
                        "the bad name first, a good one second",
                        "/v1.41/images/create?fromImage=\(badName)&fromImage=\(goodName)&tag=1", ["Content-Length: 0"],
                        ""
                    ),
                    (
                        "a good name first, the bad one second",
                        "/v1.41/images/create?fromImage=\(goodName)&fromImage=\(badName)&tag=1", ["Content-Length: 0"],
                        ""
                    ),
                    (
                        "an encoded parameter name", "/v1.41/images/create?from%49mage=\(badName)&tag=1",
                        ["Content-Length: 0"], ""
                    ),
                    ("an encoded path", "/v1.41/images%2Fcreate?fromImage=\(badName)&tag=1", ["Content-Length: 0"], ""),
                    ("encoded letters", "/%69mages/cre%61te?fromImage=\(badName)&tag=1", ["Content-Length: 0"], ""),
                    (
                        "an absolute target", "http://docker/v1.41/images/create?fromImage=\(badName)&tag=1",
                        ["Content-Length: 0"], ""
                    ),
                    ("an odd version", "/v01.41/images/create?fromImage=\(badName)&tag=1", ["Content-Length: 0"], ""),
                    (
                        "another odd version", "/v1.41./images/create?fromImage=\(badName)&tag=1",
                        ["Content-Length: 0"], ""
                    ),
                    (
                        "a tag that is a digest",
                        "/v1.41/images/create?fromImage=\(badName)&tag=sha256:\(String(repeating: "0", count: 64))",
                        ["Content-Length: 0"], ""
                    ),
                    ("a push", "/v1.41/images/\(bad)/acme/hello/push?tag=1", ["Content-Length: 0"], ""),
                    ("a push, encoded", "/v1.41/images/\(badName)/push?tag=1", ["Content-Length: 0"], ""),
                    (
                        "a build's form", "/v1.41/build",
                        ["Content-Type: \(form)", "Content-Length: \("remote=http://\(bad)/x".utf8.count)"],
                        "remote=http://\(bad)/x"
                    ),
                    ("an import without a scheme", "/v1.41/images/create?fromSrc=\(bad)/x", ["Content-Length: 0"], ""),
                    (
                        "a plugin", "/v1.41/plugins/pull?remote=\(badName)&name=p",
                        ["Content-Type: application/json", "Content-Length: 2"], "[]"
                    ),
                ]
                for (what, target, headers, body) in requests {
                    var lines = ["POST \(target) HTTP/1.1", "Host: d", "X-Registry-Auth: e30="] + headers
                    if !headers.contains(where: { $0.hasPrefix("Connection") }) { lines.append("Connection: close") }
                    let answer = try await docker.engine.raw(lines.joined(separator: "\r\n") + "\r\n\r\n" + body)
                    if answer.hasPrefix("HTTP/1.1 403") {
                        #expect(
                            PrivateDocker.isRefusal(answer, of: bad) || PrivateDocker.isNotInspected(answer),
                            "\(what): \(answer)"
                        )
                    } else {
                        // The engine itself did not take it for a request of any kind.
                        let statuses = ["HTTP/1.1 400", "HTTP/1.1 404", "HTTP/1.1 301"]
                        #expect(statuses.contains { answer.hasPrefix($0) }, "\(what): \(answer)")
                    }
                    #expect(!docker.refused.wasAsked, "\(what) reached the registry: \(answer)")
                }
                #expect(try await !docker.has(docker.refused.image))
                try await docker.engine.docker(["pull", docker.allowed.image]).expecting(0)
            }
        }

        @Test(
            "a service's image cannot hide in repeated or oddly written keys",
            arguments: [
                #"{"Name":"s","TaskTemplate":{"ContainerSpec":{"Image":"GOOD","image":"BAD"}}}"#,
                #"{"Name":"s","TaskTemplate":{"ContainerSpec":{"Image":"GOOD"},"tasktemplate":{}},"TASKTEMPLATE":{"ContainerSpec":{"Image":"BAD"}}}"#,
                #"{"Name":"s","TaskTemplate":{"containerſpec":{"Image":"BAD"}}}"#,
                #"{"Name":"s","TaskTemplate":{"ContainerSpec":{"Image":"BAD"}}}"#,
                #"{"Name":"s","TaskTemplate":{"ContainerSpec":{"Image":"GOOD"}}}{"TaskTemplate":{"ContainerSpec":{"Image":"BAD"}}}"#,
            ]
        )
        func services(body: String) async throws {
            try await PrivateDocker.with { docker in
                let body = body.replacingOccurrences(of: "GOOD", with: docker.allowed.image)
                    .replacingOccurrences(of: "BAD", with: docker.refused.image)
                let answer = try await docker.engine.raw(
                    """
                    POST /v1.29/services/create HTTP/1.1\r
                    Host: d\r
                    Connection: close\r
                    Content-Type: application/json\r
                    Content-Length: \(body.utf8.count)\r
                    \r
                    \(body)
                    """
                )
                #expect(answer.hasPrefix("HTTP/1.1 403"), "\(answer)")
                #expect(
                    PrivateDocker.isRefusal(answer, of: docker.refused.address) || PrivateDocker.isNotInspected(answer),
                    "\(answer)"
                )
                #expect(!docker.refused.wasAsked)
            }
        }

        @Test("a body that the engine would read but not show is refused", arguments: [2, 5])
        func largeBody(megabytes: Int) async throws {
            try await PrivateDocker.with { docker in
                let spec = #""TaskTemplate":{"ContainerSpec":{"Image":"\#(docker.refused.image)"}}"#
                let body = #"{"Name":"s","Labels":{"a":"\#(String(repeating: "a", count: megabytes << 20))"},\#(spec)}"#
                let file = "\(docker.engine.root)/body.json"
                try body.write(toFile: file, atomically: true, encoding: .utf8)
                // curl reads an answer that comes while it still sends.
                let answer = try await runProgram([
                    "curl", "-sSi", "--unix-socket", docker.engine.socket, "-H", "Content-Type: application/json",
                    "-H", "Expect:", "--data-binary", "@\(file)", "http://d/v1.29/services/create",
                ]).output
                #expect(answer.hasPrefix("HTTP/1.1 403"), "\(answer)")
                #expect(PrivateDocker.isNotInspected(answer), "\(answer)")
                #expect(!docker.refused.wasAsked)
            }
        }
    }
}
