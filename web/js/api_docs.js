// The API of all services as a page: the generated document, read by Swagger UI.

const DOCUMENT = "../api/openapi.json";

if (globalThis.SwaggerUIBundle) {
  globalThis.SwaggerUIBundle({
    url: DOCUMENT,
    dom_id: "#api",
    deepLinking: true,
    filter: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    // Tokens stay in this page: nothing is kept for the next visit, nothing is checked elsewhere.
    persistAuthorization: false,
    validatorUrl: null,
  });
} else {
  const link = document.createElement("a");
  link.href = DOCUMENT;
  link.textContent = "openapi.json";
  document.querySelector("#api").append("Swagger UI is not installed here; run make setup. The document itself: ", link);
}
