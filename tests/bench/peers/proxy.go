// The reverse proxy of Go's standard library, which sets two headers and logs each request: what many small
// authenticating proxies stand on.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

// proxy ADDRESS UPSTREAM CA-FILE AUTHORIZATION APP-TOKEN
func main() {
	address, authorization, appToken := os.Args[1], os.Args[4], os.Args[5]
	upstream, err := url.Parse(os.Args[2])
	check(err)
	pem, err := os.ReadFile(os.Args[3])
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)

	proxy := httputil.NewSingleHostReverseProxy(upstream)
	direct := proxy.Director
	proxy.Director = func(r *http.Request) {
		direct(r)
		r.Host = "localhost"
		r.Header.Set("Authorization", authorization)
		r.Header.Set("SO-AppToken", appToken)
	}
	proxy.Transport = &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, ServerName: "localhost"},
		MaxIdleConns:        1024,
		MaxIdleConnsPerHost: 1024,
		DisableCompression:  true,
	}
	proxy.ModifyResponse = func(r *http.Response) error {
		log.Printf("%s %s %d %d", r.Request.Method, r.Request.URL.Path, r.StatusCode, r.ContentLength)
		return nil
	}
	check(http.ListenAndServe(address, proxy))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
