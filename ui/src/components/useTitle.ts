import { useEffect } from "react";

/** Sets the document's title, which is also what a screen reader says first on a new page. */
export function useTitle(title: string) {
  useEffect(() => {
    document.title = `${title} · Spandrel`;
  }, [title]);
}
